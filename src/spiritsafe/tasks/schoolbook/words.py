"""Names, nouns and verb agreement for the schoolbook problems. Plain data, no torch."""

from __future__ import annotations

from dataclasses import dataclass

NAMES = {
    "she": [
        "Mia",
        "Anna",
        "Lena",
        "Sofia",
        "Zoe",
        "Emma",
        "Nora",
        "Ruth",
        "Aisha",
        "Mei",
        "Clara",
        "Ines",
        "Olga",
        "Priya",
        "Leila",
    ],
    "he": [
        "Tom",
        "Ben",
        "Omar",
        "Leo",
        "Jack",
        "Paul",
        "Ravi",
        "Ivan",
        "Hugo",
        "Noah",
        "Adam",
        "Felix",
        "Luis",
        "Kenji",
        "Samir",
    ],
    "they": ["Robin", "Alex", "Sam", "Kim", "Jordan", "Taylor"],
}
PEOPLE = tuple((name, pronoun) for pronoun, names in NAMES.items() for name in names)
POSSESSIVE = {"she": "her", "he": "his", "they": "their"}
OBJECT = {"she": "her", "he": "him", "they": "them"}

# (singular, plural); every pool holds things that make sense in the same sentence.
POOLS = {
    "goods": (
        ("notebook", "notebooks"),
        ("ball", "balls"),
        ("scarf", "scarves"),
        ("lamp", "lamps"),
        ("book", "books"),
        ("cup", "cups"),
        ("hat", "hats"),
        ("puzzle", "puzzles"),
        ("shirt", "shirts"),
        ("plant", "plants"),
        ("towel", "towels"),
        ("bowl", "bowls"),
        ("game", "games"),
        ("basket", "baskets"),
    ),
    "sweets": (
        ("cookie", "cookies"),
        ("cherry", "cherries"),
        ("grape", "grapes"),
        ("nut", "nuts"),
        ("candy", "candies"),
        ("strawberry", "strawberries"),
        ("biscuit", "biscuits"),
        ("plum", "plums"),
        ("date", "dates"),
        ("cracker", "crackers"),
    ),
    "cards": (
        ("marble", "marbles"),
        ("stamp", "stamps"),
        ("sticker", "stickers"),
        ("coin", "coins"),
        ("card", "cards"),
        ("shell", "shells"),
        ("bead", "beads"),
        ("badge", "badges"),
        ("postcard", "postcards"),
        ("button", "buttons"),
    ),
    "made": (
        ("toy", "toys"),
        ("candle", "candles"),
        ("basket", "baskets"),
        ("cake", "cakes"),
        ("chair", "chairs"),
        ("kite", "kites"),
        ("box", "boxes"),
        ("loaf", "loaves"),
        ("clock", "clocks"),
        ("bag", "bags"),
    ),
    "plants": (
        ("tulip", "tulips"),
        ("rose", "roses"),
        ("tree", "trees"),
        ("bush", "bushes"),
        ("pumpkin", "pumpkins"),
        ("cabbage", "cabbages"),
        ("tomato plant", "tomato plants"),
        ("bean plant", "bean plants"),
        ("lily", "lilies"),
        ("vine", "vines"),
    ),
    "travel": (
        ("car", "cars"),
        ("bus", "buses"),
        ("train", "trains"),
        ("van", "vans"),
        ("truck", "trucks"),
        ("motorboat", "motorboats"),
    ),
    "relatives": (
        ("brother", "brothers"),
        ("sister", "sisters"),
        ("cousin", "cousins"),
        ("neighbour", "neighbours"),
        ("friend", "friends"),
    ),
    "chores": (
        ("piano", "piano"),
        ("guitar", "guitar"),
        ("violin", "violin"),
        ("flute", "flute"),
        ("drums", "drums"),
        ("trumpet", "trumpet"),
    ),
}
_IRREGULAR = {
    "has": "have",
    "is": "are",
    "does": "do",
    "goes": "go",
    "was": "were",
    "washes": "wash",
    "catches": "catch",
    "carries": "carry",
    "watches": "watch",
    "reaches": "reach",
    "finishes": "finish",
    "studies": "study",
}


@dataclass(frozen=True, slots=True)
class Pronoun:
    """`{She:has}` in a wording prints "She has", "He has" or "They have"."""

    word: str

    def __format__(self, verb: str) -> str:
        """The pronoun, with `verb` (third person singular) made to agree."""
        if not verb:
            return self.word
        if self.word.lower() != "they":
            return f"{self.word} {verb}"
        return f"{self.word} {_IRREGULAR.get(verb) or verb.removesuffix('s')}"


def person_slots(name: str, pronoun: str) -> dict[str, object]:
    """Slots of the main person: name, pronouns with agreement, possessive, object form."""
    return {
        "A": name,
        "She": Pronoun(pronoun.capitalize()),
        "she": Pronoun(pronoun),
        "her": POSSESSIVE[pronoun],
        "Her": POSSESSIVE[pronoun].capitalize(),
        "them": OBJECT[pronoun],
        "does": "do" if pronoun == "they" else "does",
    }
