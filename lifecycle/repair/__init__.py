"""What happens outside of us is seen, and what is out of step is put right."""
