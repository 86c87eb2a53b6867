"""What pages for readers are made of: parts, pictures and their looks."""
