"""The plugins that come along: they have the shape of a stranger's and use only the public API."""
