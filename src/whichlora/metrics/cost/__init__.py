"""What a picture cost."""
