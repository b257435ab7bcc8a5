"""What every room uses: errors, files, identifiers, memory, quiet output, resources, the version."""
