"""Stories in pairs that differ in one fact, for the probe `eq`.

Which of the two facts makes somebody feel more of an emotion is beyond dispute: whoever hoped for
rain is happier if it rains. It follows from three things together, from the fact, from who is
asked about, and from whether the emotion is a pleasant one. All combinations are asked equally
often, so no single word, and no pair of words, tells the direction.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from rys.probes.families.words import NAMES
from rys.probes.questions import Family, Question

__all__ = ["EMOTIONS", "FACT", "N_FORMS", "TIERS", "beliefs", "contests", "luck", "wishes"]

FACT = "{fact}"  # stands in a question where the fact goes
N_FORMS = 4  # who is asked about, and pleasant emotions or others

EMOTIONS = (
    ("happy", "pleased", "glad", "cheerful"),
    ("disappointed", "sad", "upset", "unhappy"),
)

# What happens to one person: the story, a good end, a bad end.
_LUCK = (
    ("{a} has looked for a lost ring all day.", "The ring turns up.", "The ring stays lost."),
    ("{a} opens a letter with the result of the exam.", "It is a pass.", "It is a fail."),
    ("The dog of {a} is ill.", "It recovers overnight.", "It dies overnight."),
    ("{a} runs to the station.", "The train is still there.", "The train has just left."),
    ("{a} waits for an old friend at the airport.", "The friend arrives.", "The friend never comes."),
    ("{a} has baked a cake for the party.", "The guests love it.", "The guests leave it on the plates."),
    ("{a} has asked the boss for more pay.", "The boss agrees.", "The boss refuses."),
    ("{a} has dropped a new phone.", "It still works.", "It is broken."),
    ("{a} opens the wallet that was lost.", "All the money is in it.", "All the money is gone."),
    ("{a} gives a first concert.", "The hall is full.", "The hall is empty."),
    ("{a} has sent a poem to a magazine.", "It is printed.", "It is sent back."),
    ("{a} has a tooth looked at.", "It is healthy.", "It must be pulled out."),
    ("{a} has sown beans in the garden.", "All of them grow.", "None of them grows."),
    ("{a} looks at the numbers of the lottery.", "They are the right ones.", "Not one is right."),
    ("{a} comes home after a storm.", "The roof has held.", "The roof has been torn off."),
    ("{a} has forgotten a bag on the bus.", "The driver brings it back.", "The driver never saw it."),
    ("{a} has asked a neighbour for help.", "The neighbour comes at once.", "The neighbour shuts the door."),
    ("{a} waits for news from the hospital.", "The operation went well.", "The operation went badly."),
    ("{a} unpacks a vase that came by post.", "It is whole.", "It is in pieces."),
    ("{a} has learned a song for the school play.", "The class applauds.", "The class laughs at it."),
)  # fmt: skip

# Two people who wish the opposite: the story, the fact that {a} hopes for, the one that {b} does.
_WISHES = (
    (
        (
            "{a} has sown vegetables and hopes for rain tomorrow. {b} has planned a picnic and hopes "
            "that it stays dry."
        ),
        "The next day it rains from morning to evening.",
        "The next day it stays dry from morning to evening.",
    ),
    (
        (
            "{a} has packed skis and hopes for snow. {b} has to drive over the mountains and hopes for "
            "clear roads."
        ),
        "On Saturday a great deal of snow falls.",
        "On Saturday no snow falls at all.",
    ),
    (
        "{a} grows wheat and sells it. {b} bakes bread and has to buy wheat.",
        "This year wheat costs more than ever before.",
        "This year wheat costs less than ever before.",
    ),
    (
        "{a} is about to sell a house. {b} is about to buy one in the same street.",
        "In spring houses become much dearer.",
        "In spring houses become much cheaper.",
    ),
    (
        (
            "{a} is a fan of the team in red. {b} is a fan of the team in blue. Tonight the two teams "
            "play against each other."
        ),
        "The team in red wins by three goals.",
        "The team in blue wins by three goals.",
    ),
    (
        (
            "{a} has not studied for the exam and wishes that it were later. {b} has studied for weeks "
            "and wants to have the exam behind."
        ),
        "The teacher moves the exam to the next month.",
        "The teacher holds the exam as planned.",
    ),
    (
        (
            "{a} has a petrol station and hopes that the new road comes through the village. {b} loves "
            "the quiet village and hopes that it does not."
        ),
        "The council decides to build the road.",
        "The council decides against the road.",
    ),
    (
        (
            "{a} is late for the train at ten and hopes that it is delayed. {b} sits in that train and "
            "has to catch another one in the next town."
        ),
        "The train leaves an hour late.",
        "The train leaves on time.",
    ),
    (
        (
            "{a} is out of work and hopes for a job in the new factory. {b} lives next to the site and "
            "fears the noise of the factory."
        ),
        "In the end the factory is built.",
        "In the end the factory is not built.",
    ),
    (
        "{a} wants to dance all night. {b} lives above the dance hall and needs to sleep early.",
        "The band plays until four in the morning.",
        "The band stops at nine in the evening.",
    ),
    (
        "{a} is always cold in the office. {b}, at the next desk, is always too hot.",
        "From today the heating is turned up.",
        "From today the heating is turned down.",
    ),
    (
        (
            "{a} is afraid of speaking at the meeting and hopes that there will be none. {b} has "
            "prepared a speech for the meeting and cannot wait to give it."
        ),
        "At noon the meeting is called off.",
        "At noon the meeting is confirmed.",
    ),
    (
        (
            "{a} wants the old tree to go, because it makes the kitchen dark. {b} played under the old "
            "tree as a child and wants to keep it."
        ),
        "The owner has the tree cut down.",
        "The owner lets the tree stand.",
    ),
    (
        "{a} has always wished to have a dog. {b} lives next door and is afraid of dogs.",
        "The landlord allows dogs in the house.",
        "The landlord forbids dogs in the house.",
    ),
    (
        (
            "{a} plans to open a second bakery in the town. {b} has the only bakery there and wants no "
            "rival."
        ),
        "The town permits the second bakery.",
        "The town refuses the second bakery.",
    ),
    (
        "{a} has fought for the new law for years. {b} has fought against it for years.",
        "The parliament passes the law.",
        "The parliament rejects the law.",
    ),
    (
        (
            "{a} sells ice cream and lives on hot days. {b} suffers from the heat and longs for cool "
            "days."
        ),
        "The whole summer is hot.",
        "The whole summer is cool.",
    ),
    (
        (
            "{a} wants to sail tomorrow and needs strong wind. {b} wants to fly in a balloon tomorrow "
            "and needs still air."
        ),
        "In the morning a strong wind blows.",
        "In the morning the air is still.",
    ),
    (
        (
            "{a} loves the company of the cousins and hopes that they stay. {b} has had enough of the "
            "cousins and hopes that they leave."
        ),
        "The cousins stay for another week.",
        "The cousins leave on the same day.",
    ),
    (
        "{a} wants to go to the sea. {b} finds the sea dull and wants to go to the mountains.",
        "Their parents choose the sea for the holidays.",
        "Their parents choose the mountains for the holidays.",
    ),
)

# Two people of whom one wins and the other loses: the story, the end if {x} wins, if {x} loses.
_CONTESTS = (
    ("{a} and {b} play the final of the chess club.", "{x} wins the game.", "{x} loses the game."),
    (
        "{a} and {b} are the only candidates for mayor, and both want it badly.",
        "{x} is elected.",
        "{x} is not elected.",
    ),
    (
        "{a} and {b} have applied for the same job, and nobody else has.",
        "{x} gets the job.",
        "{x} is turned down.",
    ),
    (
        "{a} and {b} bid for the same painting until everybody else has given up.",
        "{x} gets the painting.",
        "{x} is outbid.",
    ),
    (
        "{a} and {b} meet in court, because both say that the field is theirs.",
        "The judge decides in favour of {x}.",
        "The judge decides against {x}.",
    ),
    (
        "{a} and {b} have bet a month's pay against each other.",
        "{x} wins the bet.",
        "{x} loses the bet.",
    ),
    (
        "{a} and {b} both want the leading part in the play, and only one can have it.",
        "The director chooses {x}.",
        "The director does not choose {x}.",
    ),
    (
        "{a} and {b} are the last two in the tennis tournament.",
        "{x} wins the match.",
        "{x} loses the match.",
    ),
    (
        "{a} and {b} run side by side towards the finish, far in front of all others.",
        "{x} comes in first.",
        "{x} comes in second.",
    ),
    (
        "{a} and {b} are in the final of the quiz, with one question left.",
        "{x} takes the prize home.",
        "{x} goes home without the prize.",
    ),
    (
        "{a} and {b} both hope to become head of the department, and nobody else can.",
        "{x} is promoted.",
        "{x} is passed over.",
    ),
    (
        "{a} and {b} quarrel about who was right, and ask an expert.",
        "The expert says that {x} was right.",
        "The expert says that {x} was wrong.",
    ),
)


@dataclass(frozen=True)
class _Asked:
    """Who is asked about, and what.

    Attributes:
        names: Of {a} and {b}.
        is_second: {b} is asked about, else {a}.
        emotion: What is asked about.
        is_pleasant: Whether the emotion is a pleasant one.
    """

    names: tuple[str, str]
    is_second: bool
    emotion: str
    is_pleasant: bool

    @property
    def person(self) -> str:
        return self.names[self.is_second]


def _asked(rng: random.Random, form: int) -> _Asked:
    """Return whom and what a form, 0 to N_FORMS - 1, asks about."""
    first, second = rng.sample(NAMES, 2)
    is_pleasant = form % 2 == 0
    emotion = rng.choice(EMOTIONS[0] if is_pleasant else EMOTIONS[1])
    return _Asked((first, second), form // 2 == 1, emotion, is_pleasant)


def _question(asked: _Asked, story: str, good: str, bad: str) -> Question:
    """Return a question whose answer is the fact that gives more of the emotion.

    Args:
        asked: Who is asked about.
        story: What comes before the fact.
        good: The fact that the person likes better.
        bad: The other one.
    """
    text = (
        f"{story} {FACT}\n\nOn a scale from 0 (not at all) to 9 (extremely), how {asked.emotion} "
        f"does {asked.person} feel now?"
    )
    more, less = (good, bad) if asked.is_pleasant else (bad, good)
    return Question(text, more, (more, less))


def luck(rng: random.Random, form: int) -> Question:
    """Ask how somebody feels to whom something good or bad has happened."""
    asked = _asked(rng, form)
    story, good, bad = rng.choice(_LUCK)
    return _question(asked, story.format(a=asked.person), good, bad)


def wishes(rng: random.Random, form: int) -> Question:
    """Ask how somebody feels whose wish comes true, or that of somebody with the opposite wish."""
    asked = _asked(rng, form)
    story, good, bad = rng.choice(_WISHES)
    if asked.is_second:
        good, bad = bad, good
    first, second = asked.names
    return _question(asked, story.format(a=first, b=second), good, bad)


def contests(rng: random.Random, form: int) -> Question:
    """Ask how somebody feels who has won or lost against somebody else."""
    asked = _asked(rng, form)
    story, wins, loses = rng.choice(_CONTESTS)
    first, second = asked.names
    # Of either person it is told whether it won.
    told = rng.choice(asked.names)
    good, bad = wins.format(x=told), loses.format(x=told)
    if told != asked.person:
        good, bad = bad, good
    return _question(asked, story.format(a=first, b=second), good, bad)


def beliefs(rng: random.Random, form: int) -> Question:
    """Ask how somebody feels who believes the opposite of what happened."""
    asked = _asked(rng, form)
    story, good, bad = rng.choice(_WISHES)
    if asked.is_second:
        good, bad = bad, good
    first, second = asked.names
    told = f"{asked.person} is not there, and believes a friend who wrongly says:"
    return _question(
        asked,
        story.format(a=first, b=second),
        good=f"{bad} {told} {good}",
        bad=f"{good} {told} {bad}",
    )


# The families of each tier, in the order of the questions.
TIERS: dict[str, tuple[Family, ...]] = {
    "basic": (luck,),
    "contrast": (wishes, contests),
    "belief": (beliefs,),
}
