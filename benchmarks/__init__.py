"""What is measured rather than tested: see training/README.md."""
