//! Floors, homes of words and file length, held by a test.
