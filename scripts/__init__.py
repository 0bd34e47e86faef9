"""What make calls: set-up scripts and the generator of documents."""
