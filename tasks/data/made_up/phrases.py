"""The words of the made-up sentences: values of their slots, and patterns with slots in braces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

_NUMBERS = ("two three four five six seven eight nine ten eleven twelve").split()
_NAMES = (
    "Anna Ben Clara David Elif Farid Grace Hugo Ines Jonas Kemal Laura Mateo Nadia Oscar "
    "Priya Quinn Rosa Samir Tara Uma Victor Wendy Yusuf Zoe"
).split()
_FAMILIES = (
    "Adams Brandt Costa Diaz Evans Fischer Garcia Hoang Ivanov Jensen Khan Lopez Meyer Novak "
    "Okafor Patel Rossi Silva Tanaka Weber"
).split()
_DAYS = ("Monday Tuesday Wednesday Thursday Friday Saturday Sunday").split()
_MONTHS = ("March April May June July August September October").split()
_CITIES = ("Berlin Lisbon Madrid Oslo Paris Prague Rome Turin Vienna Warsaw Zurich Porto").split()
_ROOMS = (
    "kitchen", "bedroom", "living room", "bathroom", "hall", "office", "garage", "cellar",
)  # fmt: skip
_MUSIC = (
    "jazz", "some jazz", "classical music", "the beatles", "my morning list", "rock",
    "piano music", "the radio", "old blues", "songs by abba", "film music",
    "the new album by adele",
)  # fmt: skip
_DISHES = (
    "soup of the day", "mushroom risotto", "lasagne", "fish curry", "vegetable pie",
    "grilled trout", "lentil stew", "apple cake", "lamb chops", "tomato salad", "ramen",
    "falafel plate",
)  # fmt: skip
_PLACES = (
    "Blue Door", "Golden Lion", "Green Fig", "Harbour Inn", "Little Italy", "Mill House",
    "Old Oak", "Olive Branch", "Red Lantern", "Silver Spoon",
)  # fmt: skip
_SEATS = (
    "by the window", "on the terrace", "near the fireplace", "in the garden", "at the bar",
    "in a quiet corner", "upstairs", "close to the door",
)  # fmt: skip

INTENTS: Mapping[str, tuple[str, ...]] = {
    "alarm_set": (
        "set an alarm for {time}", "wake me up at {time}", "i need to get up at {time} on {day}",
        "make the alarm ring at {time}", "add a new alarm {day} {time}",
        "alarm for {time} on {day}", "do not let me sleep past {time}",
        "ring at {time} so that i do not oversleep",
    ),
    "alarm_cancel": (
        "cancel the alarm for {time}", "i do not need the alarm at {time}",
        "delete my {day} alarm", "turn off the alarm on {day}", "no alarm at {time} please",
        "remove the {time} alarm", "let me sleep on {day} and drop the alarm",
        "switch the {time} alarm off",
    ),
    "weather": (
        "will it rain in {city} on {day}", "what is the weather in {city}",
        "is it cold in {city}", "do i need an umbrella on {day}", "how warm will {day} be",
        "forecast for {city} on {day}", "is there snow in {city}",
        "how is the weather {day} at {time}",
    ),
    "music_play": (
        "play {music}", "put on {music} in the {room}", "i want to hear {music}",
        "start {music}", "let me listen to {music}", "some music please maybe {music}",
        "turn on {music} at {time}", "can we have {music} in the {room}",
    ),
    "music_stop": (
        "stop {music}", "turn off the music in the {room}", "no more {music}",
        "enough of {music}", "pause {music} in the {room}", "make the {room} quiet",
        "switch {music} off", "i do not want to hear {music} any more",
    ),
    "lights_on": (
        "turn on the lights in the {room}", "lights on in the {room}",
        "it is too dark in the {room}", "switch the {room} lamp on", "make the {room} brighter",
        "i cannot see a thing in the {room}", "light up the {room} at {time}",
        "put the {room} light on",
    ),
    "lights_off": (
        "turn off the lights in the {room}", "lights off in the {room}", "make the {room} dark",
        "switch the {room} lamp off", "it is too bright in the {room}", "no light in the {room}",
        "kill the {room} lights at {time}", "nobody is in the {room} so turn the light off",
    ),
    "heating": (
        "set the {room} to {degrees} degrees", "it is too cold in the {room}", "heat the {room}",
        "make it {degrees} degrees in the {room}", "turn down the heating in the {room}",
        "the {room} is too hot", "i want {degrees} degrees by {time}",
        "warm up the {room} on {day}",
    ),
    "table_book": (
        "book a table for {people} at the {place}", "reserve the {place} on {day} at {time}",
        "a table for {people} {seat} please", "we are {people} and want to eat at the {place}",
        "get me a reservation at the {place} for {day}",
        "can i have a table at {time} for {people}", "find room for {people} at the {place}",
        "table at the {place} {day} {time}",
    ),
    "table_cancel": (
        "cancel my table at the {place}", "we cannot come to the {place} on {day}",
        "drop the reservation for {people}", "i do not need the table at {time} any more",
        "call off {day} at the {place}", "please delete my booking for {people}",
        "no table on {day} after all", "we will not make it to the {place} at {time}",
    ),
    "hours": (
        "when does the {place} open", "is the {place} open on {day}",
        "how late can i eat on {day}", "opening hours of the {place}",
        "does the {place} close before {time}", "is anybody at the {place} at {time}",
        "until when is the {place} open on {day}", "can i still come to the {place} at {time}",
    ),
    "menu": (
        "do you have {dish}", "is the {dish} vegetarian", "what does the {dish} cost",
        "does the {place} serve {dish}", "what is in the {dish}", "is there {dish} on {day}",
        "how hot is the {dish} at the {place}", "can i get {dish} without onions",
    ),
}  # fmt: skip
"""Patterns of requests by intent; the last of each is for validation and test only."""

BEFORE = (
    "", "", "", "please ", "hey ", "could you ", "ok ", "hi there ", "well ", "quick one ",
)  # fmt: skip
AFTER = (
    "", "", "", " please", " thanks", " now", " if you can", " for me", " today", " again",
)  # fmt: skip

ASKED: Mapping[str, tuple[str, ...]] = {
    "people": ("How many people are coming?", "For how many people?", "How large is the party?"),
    "time": ("At what time?", "When will they arrive?", "Which time do they want?"),
    "day": ("On which day?", "For which day is the table?", "Which day do they want?"),
    "name": ("What is the name?", "Who is writing?", "Who wants the table?"),
    "seat": ("Where do they want to sit?", "Which table would they like?", "Where should it be?"),
    "dish": ("What do they want to eat?", "Which dish do they order?", "What should be cooked?"),
}
"""Questions by the slot that they ask for."""

MESSAGES = (
    "This is [name]. We would like a table for [people] on [day] at [time].",
    "Hello, [name] here, could we come on [day]? There will be [people] of us.",
    "We are [people], not {people}, and would sit [seat].",
    "Please move us from {day} to [day], same as before at [time].",
    "My name is [name] and I called for {name}, our table at [time] should be [seat].",
    "We come at [time] instead of {time}, and all [people] want [dish].",
    "Could you keep [dish] for us on [day]? We loved {dish} last time.",
    "On [day] we are [people]. Is it possible to sit [seat]? {time} is too early, so [time].",
    "A table [seat] for [people], please. My name is [name].",
    "I had {dish} on {day}, this time I want [dish] at [time]. Thank you, [name].",
    "Is there room [seat] on [day] for [people]? We would order [dish].",
    "[name] here. I come at [time] with {name}, that makes [people].",
)
"""Facts in square brackets, other values in braces; the last two are not for train."""

GREETINGS = (
    "", "", "Good morning. ", "Dear team, ", "Hi! ", "Good evening. ",
)  # fmt: skip
CLOSINGS = (
    "", "", " Thanks!", " Please confirm.", " See you soon.", " Best regards.",
)  # fmt: skip


def pick(values: Sequence[T], rng: np.random.Generator) -> T:
    """One of the values."""
    return values[int(rng.integers(len(values)))]


def _time(rng: np.random.Generator) -> str:
    """A time of day, said in one of several ways."""
    hour, minute = int(rng.integers(1, 13)), pick(("15", "30", "45"), rng)
    word = pick(_NUMBERS, rng)
    return pick(
        (
            f"{hour} {pick(('am', 'pm'), rng)}",
            f"{hour}:{minute}",
            f"{hour}:{minute} {pick(('am', 'pm'), rng)}",
            f"half past {word}",
            f"quarter to {word}",
            f"{word} o'clock",
        ),
        rng,
    )


def _day(rng: np.random.Generator) -> str:
    """A day, said in one of several ways."""
    day, number = pick(_DAYS, rng), int(rng.integers(4, 21))
    return pick(
        (
            day,
            f"next {day}",
            f"{day} {pick(('evening', 'morning', 'night'), rng)}",
            f"{pick(_MONTHS, rng)} {number}",
            f"the {number}th of {pick(_MONTHS, rng)}",
        ),
        rng,
    )


def _people(rng: np.random.Generator) -> str:
    """A number of people, said in one of several ways."""
    word, number = pick(_NUMBERS, rng), int(rng.integers(2, 13))
    return pick(
        (
            f"{word} people",
            f"{number} people",
            f"{word} adults and {pick(_NUMBERS, rng)} children",
            f"a group of {word}",
            f"{number} guests",
        ),
        rng,
    )


def _name(rng: np.random.Generator) -> str:
    """A name, with or without the first one."""
    first, family = pick(_NAMES, rng), pick(_FAMILIES, rng)
    return pick((f"{first} {family}", first, f"{pick(('Mr', 'Mrs', 'Dr'), rng)} {family}"), rng)


def _one_of(values: Sequence[str]) -> Callable[[np.random.Generator], str]:
    """A slot that takes any of the values."""
    return lambda rng: pick(values, rng)


SLOTS: Mapping[str, Callable[[np.random.Generator], str]] = {
    "time": _time,
    "day": _day,
    "people": _people,
    "name": _name,
    "room": _one_of(_ROOMS),
    "city": _one_of(_CITIES),
    "music": _one_of(_MUSIC),
    "dish": _one_of(_DISHES),
    "place": _one_of(_PLACES),
    "seat": _one_of(_SEATS),
    "degrees": _one_of(tuple(str(degrees) for degrees in range(15, 26))),
}
