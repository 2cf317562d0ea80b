"""Families that a model of 100 million parameters just manages: to find, to repeat, to compare.

The choices are single words, and the answer is the word itself and not a letter: small models do
not connect a letter with what stands behind it. What the answer depends on stands at the end.
"""

from __future__ import annotations

import random

from rys.probes.families.words import COLORS, NAMES, ORDINALS, join_words, word_tuple
from rys.probes.questions import Question

__all__ = [
    "ARTICLES",
    "KINDS",
    "SENTIMENTS",
    "VERBS",
    "agreement",
    "article",
    "kinds",
    "look_up",
    "order_of_two",
    "pattern",
    "place_in_list",
    "sentiment",
]

# Answers that are the same for all questions of a family.
SENTIMENTS = ("positive", "negative")
KINDS = ("animals", "fruits", "colours", "numbers")
VERBS = ("is", "are")
ARTICLES = ("a", "an")

_THINGS = word_tuple(
    "key coin ring map watch letter candle spoon ticket pencil button stone feather ball bell shell"
)

_WORDS = word_tuple(
    "apple river chair cloud bread horse music paper stone table house water garden window winter "
    "summer bridge market silver forest"
)

# In the order of KINDS.
_OF_KINDS = (
    word_tuple("dog cat horse cow lion tiger bear wolf rabbit sheep goat monkey fox pig deer"),
    word_tuple("apple banana orange grape lemon peach pear cherry mango melon plum fig kiwi"),
    word_tuple("red blue green yellow black white purple brown pink grey"),
    word_tuple("one two three four five six seven eight nine ten eleven twelve"),
)

_SUBJECTS = word_tuple(
    "dog cat horse bird boy girl teacher farmer doctor tree house car boat shop friend neighbour "
    "student singer driver cook dancer letter picture garden"
)
_ADJECTIVES = word_tuple("old small young tall quiet strange new big other first")
_AFTER_ARTICLE = {
    "a": word_tuple("small big red tall new young long dark heavy nice round wooden"),
    "an": word_tuple("old ugly empty expensive odd elegant ancient orange open angry icy unusual"),
}
# Behind the subject, some in the singular and some in the plural, for which it may be mistaken.
_PLACED = (
    *("near the river", "in the garden", "behind the school", "on the hill", "by the window"),
    *("with the bags", "next to the shops", "between the trees", "in the pictures"),
    *("under the bridges", "of the king", "across the fields"),
)

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
    """Ask for the colour of one of n things that all have different colours."""
    things = rng.sample(_THINGS, n)
    colors = rng.sample(COLORS, n)
    told = [f"The {thing} is {color}." for thing, color in zip(things, colors, strict=True)]
    asked = rng.randrange(n)
    text = f"{' '.join(told)} Which colour is the {things[asked]}?"
    return Question(text, colors[asked], tuple(colors), by_word=True)


def pattern(rng: random.Random, n: int) -> Question:
    """Ask for the next word of a pattern of n words that is repeated two or three times."""
    words = rng.sample(_WORDS, n)
    n_shown = rng.randrange(2 * n, 3 * n)
    shown = [words[place % n] for place in range(n_shown)]
    text = f"Which word comes next? {', '.join(shown)},"
    return Question(text, words[n_shown % n], tuple(words), by_word=True)


def place_in_list(rng: random.Random, n: int) -> Question:
    """Ask for the word at a place of a list of n words, at most 4."""
    words = rng.sample(_WORDS, n)
    place = rng.randrange(n)
    ordinal = "last" if place == n - 1 else ORDINALS[place]
    text = f"Which word is the {ordinal} one? {', '.join(words)}"
    choices = rng.sample(words, n)
    return Question(text, words[place], tuple(choices), by_word=True)


def kinds(rng: random.Random, n: int) -> Question:
    """Ask for the kind of n things."""
    kind = rng.randrange(len(KINDS))
    words = rng.sample(_OF_KINDS[kind], n)
    lead = f"Are these {join_words(KINDS, 'or')}?"
    return Question(", ".join(words), KINDS[kind], KINDS, lead=lead)


def agreement(rng: random.Random, n: int) -> Question:
    """Ask which verb goes with a subject that stands n places, 1 or 2, in front of it."""
    number = rng.randrange(2)
    subject = rng.choice(_SUBJECTS) + "s" * number
    places = rng.sample(_PLACED, n)
    text = f"The {rng.choice(_ADJECTIVES)} {subject} {' '.join(places)} ..."
    return Question(text, VERBS[number], VERBS, lead="Go on with is or are:")


def article(rng: random.Random, n: int) -> Question:
    """Ask for the article of a noun with n adjectives, 1 or 2, in front of it."""
    answer = rng.choice(ARTICLES)
    words = rng.sample(_AFTER_ARTICLE[answer], 1)
    if n > 1:  # only the word behind the article counts
        words += rng.sample(_ADJECTIVES, n - 1)
    verb = rng.choice(("has", "sees", "wants", "draws", "finds", "buys"))
    noun = rng.choice(_SUBJECTS)
    text = f"{rng.choice(NAMES)} {verb} ... {' '.join(words)} {noun}."
    return Question(text, answer, ARTICLES, lead="Which one is missing, a or an?")


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
    text = f'"{". ".join(parts)}."'
    return Question(text, answer, SENTIMENTS, lead="Is this opinion positive or negative?")
