"""English phrases beside their French, written out by Unicode's CLDR (`babel`): dates, times, amounts, measures, names.

Apart from `data`, which the build reads: only training and the making of the evaluation set need `babel`.
"""

from __future__ import annotations

import datetime
import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeVar

from babel import Locale
from babel.dates import format_date, format_time, format_timedelta
from babel.lists import format_list
from babel.numbers import format_currency, format_percent, get_currency_name
from babel.units import format_unit

T = TypeVar("T")
Pair = tuple[str, str]
LOCALES = ("en", "fr")
HELD_OUT = 0.1
"""Share of dates, times, numbers and lists that no phrase of the training part has."""


def codes(text: str) -> Sequence[str]:
    return text.split()


TERRITORIES = codes(
    "AR AT AU BE BR CA CH CL CN CO CU CZ DE DK EG ES FI FR GB GR HU ID IE IL IN IS IT JP KE KR LU MA MX NG NL "
    "NO NZ PE PL PT RO RU SE SG TH TN TR UA US VN ZA"
)
LANGUAGES = codes("ar cs da de el en es fi fr he hi hu id is it ja ko nl no pl pt ro ru sv sw th tr uk vi zh")
CURRENCIES = codes("AUD BRL CAD CHF CNY DKK EUR GBP INR JPY MXN NOK PLN SEK TRY USD")
LENGTHS = codes("length-meter length-kilometer length-centimeter")
UNITS = codes(
    "mass-gram mass-kilogram volume-liter duration-hour duration-minute duration-day duration-week duration-month "
    "temperature-celsius speed-kilometer-per-hour area-square-meter"
)
LABELS: Sequence[Pair] = (
    ("Departure", "Départ"),
    ("Arrival", "Arrivée"),
    ("Opening", "Ouverture"),
    ("Meeting", "Réunion"),
    ("Delivery", "Livraison"),
    ("Price", "Prix"),
    ("Total", "Total"),
    ("Discount", "Remise"),
    ("Distance", "Distance"),
    ("Country", "Pays"),
    ("Languages", "Langues"),
    ("Currency", "Monnaie"),
)


def plain(text: str) -> str:
    """With ordinary spaces, since the narrow ones that CLDR sets within times and numbers cannot be told by eye."""
    return text.replace("\u202f", " ").replace("\u00a0", " ")


def is_held_out(content: object) -> bool:
    """Whether a content belongs to evaluation, whatever phrase it stands in."""
    return hashlib.sha256(repr(content).encode()).digest()[0] < HELD_OUT * 256


class Phrases:
    """An endless, repeatable row of pairs, of the training part or of the evaluation's."""

    def __init__(self, seed: int, *, held_out: bool) -> None:
        self.random = random.Random(seed)
        self.held_out = held_out
        self.locales = tuple(Locale(name) for name in LOCALES)
        self.kinds: Sequence[tuple[Callable[[], Pair], Sequence[str]]] = (
            (self.date, ("Departure", "Arrival", "Opening", "Meeting", "Delivery")),
            (self.time, ("Departure", "Arrival", "Opening", "Meeting")),
            (self.date_and_time, ("Departure", "Arrival", "Meeting", "Delivery")),
            (self.amount, ("Price", "Total", "Discount")),
            (self.percentage, ("Discount",)),
            (self.measure, ()),
            (self.distance, ("Distance",)),
            (self.span, ()),
            (self.territories, ("Country",)),
            (self.languages, ("Languages",)),
            (self.currency, ("Currency",)),
        )
        self.weights = (24, 8, 14, 18, 5, 9, 3, 5, 8, 5, 1)

    def pair(self) -> Pair:
        while True:
            (make, labels) = self.random.choices(self.kinds, self.weights)[0]
            english, french = make()
            if self.held_out and make == self.currency:  # a name alone is known or not
                continue
            if labels and self.random.random() < 0.4:
                label = dict(LABELS)
                name = self.random.choice(labels)
                english, french = f"{name}: {english}", f"{label[name]} : {french}"
            return plain(english), plain(french)

    def pairs(self, count: int) -> list[Pair]:
        return [self.pair() for _ in range(count)]

    def distinct(self, count: int) -> list[Pair]:
        found: dict[str, str] = {}
        while len(found) < count:
            english, french = self.pair()
            found[english] = french
        return list(found.items())

    def _of_part(self, draw: Callable[[], T]) -> T:
        while is_held_out(content := draw()) != self.held_out:
            pass
        return content

    def _both(self, write: Callable[[Locale], str]) -> Pair:
        english, french = (write(locale) for locale in self.locales)
        return english, french

    def _date(self) -> datetime.date:
        first = datetime.date(1990, 1, 1)
        return self._of_part(lambda: first + datetime.timedelta(days=self.random.randrange(365 * 50)))

    def _time(self) -> datetime.time:
        return self._of_part(lambda: datetime.time(self.random.randrange(24), self.random.randrange(60)))

    def _number(self, decimals: int, largest: int) -> float:
        digits = self.random.choice(range(1, largest + 1))
        return self._of_part(lambda: round(self.random.uniform(10 ** (digits - 1), 10**digits), decimals))

    def date(self) -> Pair:
        date, style = self._date(), self.random.choice(("full", "full", "long", "medium", "short"))
        return self._both(lambda locale: format_date(date, style, locale=locale))

    def time(self) -> Pair:
        time = self._time()
        return self._both(lambda locale: format_time(time, "short", locale=locale))

    def date_and_time(self) -> Pair:
        return _joined((self.date(), self.time()), ", ")

    def amount(self) -> Pair:
        number, currency = self._number(self.random.choice((0, 2)), 6), self.random.choice(CURRENCIES)
        form: Literal["name", "standard"] = self.random.choice(("name", "standard"))
        return self._both(lambda locale: format_currency(number, currency, locale=locale, format_type=form))

    def percentage(self) -> Pair:
        share = self._number(1, 2) / 100
        return self._both(
            lambda locale: format_percent(share, "#,##0.#\u00a0%" if locale.language == "fr" else "#,##0.#%", locale)
        )

    def measure(self) -> Pair:
        return self._measure(self.random.choice(UNITS))

    def distance(self) -> Pair:
        return self._measure(self.random.choice(LENGTHS))

    def _measure(self, unit: str) -> Pair:
        number = self._number(self.random.choice((0, 0, 1)), 4)
        value = int(number) if number == int(number) else number
        return self._both(lambda locale: format_unit(value, unit, locale=locale))

    def span(self) -> Pair:
        days = self._of_part(lambda: self.random.choice((-1, 1)) * self.random.randrange(1, 60))
        delta = datetime.timedelta(days=days) if self.random.random() < 0.5 else datetime.timedelta(minutes=days)
        return self._both(lambda locale: format_timedelta(delta, add_direction=True, locale=locale))

    def territories(self) -> Pair:
        return self._list(TERRITORIES, lambda locale, code: locale.territories[code])

    def languages(self) -> Pair:
        return self._list(LANGUAGES, lambda locale, code: locale.languages[code])

    def currency(self) -> Pair:
        code = self.random.choice(CURRENCIES)
        return self._both(lambda locale: get_currency_name(code, locale=locale))

    def _list(self, codes: Sequence[str], name: Callable[[Locale, str], str]) -> Pair:
        """One to three names; evaluation has at least two, since a name alone is known or not."""
        least = 2 if self.held_out else 1
        chosen = self._of_part(lambda: tuple(self.random.sample(codes, self.random.randint(least, 3))))
        return self._both(lambda locale: format_list([name(locale, code) for code in chosen], locale=locale))


def _joined(pairs: Iterable[Pair], separator: str) -> Pair:
    english, french = zip(*pairs, strict=True)
    return separator.join(english), separator.join(french)
