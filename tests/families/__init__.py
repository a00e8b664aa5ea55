"""Small tokenizers of the families of models that people tune, each with its family's own chat template."""

from tests.families.chats import chats
from tests.families.made import FAMILIES, tokenizer

__all__ = ["FAMILIES", "chats", "tokenizer"]
