"""The hypervisor edge: `base` says what the product needs, `libvirt` does it."""
