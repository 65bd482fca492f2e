//! What only the owner's machine can do: key hierarchy, name encryption, blob frames, commit signatures, recovery words.
