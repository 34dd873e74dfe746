"""Small helpers that every layer may use; nothing here is part of the public interface."""
