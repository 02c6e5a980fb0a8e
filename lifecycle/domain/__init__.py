"""What a VM cloud is, as pure Python: no Django, no clock, no input or output."""
