"""Families that a model of 100 million parameters just manages: to find, to repeat, to compare.

The choices are single words, and the answer is the word itself and not a letter: small models do
not connect a letter with what stands behind it.
"""

from __future__ import annotations

import random

from rys.probes.families.words import COLORS, word_tuple
from rys.probes.questions import Question

__all__ = [
    "SENTIMENTS",
    "category",
    "first_or_last",
    "look_up",
    "order_of_two",
    "pattern",
    "sentiment",
]

SENTIMENTS = ("positive", "negative")

_THINGS = word_tuple(
    "key coin ring map watch letter candle spoon ticket pencil button stone feather ball bell shell"
)
_PLACES = word_tuple("box bag drawer jar basket")

_WORDS = word_tuple(
    "apple river chair cloud bread horse music paper stone table house water garden window winter "
    "summer bridge market silver forest"
)

_GROUPS = {
    "an animal": word_tuple("dog cat horse cow lion tiger bear wolf rabbit sheep goat monkey"),
    "a fruit": word_tuple("apple banana orange grape lemon peach pear cherry mango melon plum"),
    "a colour": word_tuple("red blue green yellow black white purple brown pink grey"),
    "a number": word_tuple("one two three four five six seven eight nine ten"),
    "a part of the body": word_tuple("hand foot head arm leg nose ear eye finger knee neck"),
    "a piece of clothing": word_tuple("shirt dress coat hat shoe sock jacket scarf glove skirt"),
    "a day of the week": word_tuple("Monday Tuesday Wednesday Thursday Friday Saturday Sunday"),
    "a tool": word_tuple("hammer saw drill shovel knife axe rake wrench screwdriver chisel"),
}

# Of the first thing beside the second; of the second beside the first.
_COMPARISONS = (
    ("heavier", "lighter"),
    ("larger", "smaller"),
    ("older", "newer"),
    ("cheaper", "dearer"),
    ("wider", "narrower"),
    ("taller", "shorter"),
    ("warmer", "colder"),
    ("cleaner", "dirtier"),
)
_COMPARED = word_tuple("box bag house cup car door tower shirt tent boat lamp room")

_REVIEWED = (
    *("the film", "the book", "the hotel", "the meal", "the concert", "the phone", "the course"),
    *("the play", "the trip", "the coat", "the game", "the service", "the house", "the song"),
)
_OPINIONS = {
    "positive": (
        *("wonderful", "excellent", "great", "fantastic", "lovely", "superb", "brilliant"),
        *("a joy", "a delight", "perfect"),
    ),
    "negative": (
        *("terrible", "awful", "horrible", "dreadful", "poor", "boring", "disappointing"),
        *("a waste of money", "a disaster", "a failure"),
    ),
}
_REACTIONS = {
    "positive": (
        "I loved every minute",
        "I would recommend it to everybody",
        "it made me happy",
        "I am very glad that I chose it",
        "nothing could have been better",
        "I smiled all the way home",
    ),
    "negative": (
        "I hated every minute",
        "I would warn everybody against it",
        "it made me angry",
        "I am very sorry that I chose it",
        "nothing could have been worse",
        "I complained all the way home",
    ),
}


def look_up(rng: random.Random, n: int) -> Question:
    """Ask where one of n things is that are all in different places."""
    place = rng.choice(_PLACES)
    things = rng.sample(_THINGS, n)
    colors = rng.sample(COLORS, n)
    told = []
    for thing, color in zip(things, colors, strict=True):
        told.append(f"The {thing} is in the {color} {place}.")
    asked = rng.randrange(n)
    text = f"{' '.join(told)} What colour is the {place} with the {things[asked]}?"
    return Question(text, colors[asked], tuple(colors), by_word=True)


def pattern(rng: random.Random, n: int) -> Question:
    """Ask for the next word of a pattern of n words that is repeated two or three times."""
    words = rng.sample(_WORDS, n)
    n_shown = rng.randrange(2 * n, 3 * n)
    shown = [words[place % n] for place in range(n_shown)]
    text = f"Which word comes next? {', '.join(shown)}, ..."
    return Question(text, words[n_shown % n], tuple(words), by_word=True)


def first_or_last(rng: random.Random, n: int) -> Question:
    """Ask for the first or the last of n words."""
    words = rng.sample(_WORDS, n)
    which, answer = rng.choice((("first", words[0]), ("last", words[-1])))
    text = f"Which word is the {which} one in this list? {', '.join(words)}"
    return Question(text, answer, tuple(words), by_word=True)


def category(rng: random.Random, n: int) -> Question:
    """Ask which of n words belongs to a group."""
    groups = rng.sample(sorted(_GROUPS), n)
    words = [rng.choice(_GROUPS[group]) for group in groups]
    text = f"Which of these words is {groups[0]}?"
    return Question(text, words[0], tuple(words), by_word=True)


def order_of_two(rng: random.Random, n: int) -> Question:
    """Ask which one of two things is more or less of what they were compared by; n is 2."""
    thing = rng.choice(_COMPARED)
    colors = rng.sample(COLORS, n)
    more, less = rng.sample(rng.choice(_COMPARISONS), 2)
    asked, answer = rng.choice(((more, colors[0]), (less, colors[1])))
    text = (
        f"The {colors[0]} {thing} is {more} than the {colors[1]} {thing}. Which {thing} is {asked}?"
    )
    return Question(text, answer, tuple(colors), by_word=True)


def sentiment(rng: random.Random, n: int) -> Question:
    """Ask whether an opinion, told in n sentences of at most 2, is positive or negative."""
    answer = rng.choice(SENTIMENTS)
    subject = rng.choice(_REVIEWED)
    sentences = [f"{subject.capitalize()} was {rng.choice(_OPINIONS[answer])}"]
    sentences.append(rng.choice(_REACTIONS[answer]))
    rng.shuffle(sentences)
    parts = [sentence[0].upper() + sentence[1:] for sentence in sentences[:n]]
    text = f'"{". ".join(parts)}." Is this opinion positive or negative?'
    return Question(text, answer, SENTIMENTS)
