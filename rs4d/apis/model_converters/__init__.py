"""Encoders from one kind of file into another."""

from .encoders import export_encoder, from_authors, take_encoder, to_authors

__all__ = ['export_encoder', 'from_authors', 'take_encoder', 'to_authors']
