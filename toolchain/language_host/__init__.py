"""A small `pulumi-language-python`: what the Go-built engine starts to run Python programs, policy packs and providers.

It is apart from the rest of `toolchain` because the engine runs it, as a process of its own; the official installer
brings another one, and then this one is not used.
"""
