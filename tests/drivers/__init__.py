"""The hypervisor edge against a real libvirtd and real guests; pure parts alone."""
