"""Office hours: days, hours over midnight, time zones and their summer time."""

from __future__ import annotations

import pandas as pd
import pytest

from trunk_transforms.audit.office_hours import read_office_hours


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (
            "Mo-Fr 08:00-18:00 Europe/Berlin",
            ["2026-03-02T07:00", "2026-03-27T16:59", "2026-03-30T06:00", "2026-03-30T15:59"],  # summer time from 03-29
            ["2026-03-02T06:59", "2026-03-02T17:00", "2026-03-28T10:00", "2026-03-30T05:59", "2026-03-30T16:00"],
        ),
        ("mo-fr 8:00-18:00, sa 09:00-13:00 UTC", ["2026-03-06T17:59", "2026-03-07T12:59"], ["2026-03-07T13:00"]),
        ("Fr 22:00-06:00 UTC", ["2026-03-06T22:00", "2026-03-07T05:59"], ["2026-03-06T05:00", "2026-03-07T06:00"]),
        ("Su 22:00-06:00 UTC", ["2026-03-08T23:00", "2026-03-09T05:00"], ["2026-03-08T05:00", "2026-03-09T06:00"]),
        ("Sat-Mon 00:00-24:00 UTC", ["2026-03-07T00:00", "2026-03-09T23:59"], ["2026-03-10T00:00"]),
        ("08:00-12:00,13:00-17:00 Asia/Kolkata", ["2026-03-08T02:30"], ["2026-03-08T06:30", "2026-03-08T07:29"]),
        ("Mo 08:00-12:00, 13:00-17:00 UTC", ["2026-03-02T13:00"], ["2026-03-02T12:30", "2026-03-03T13:00"]),
        # The hour that the clock shows twice, and the one that it leaves out.
        ("Su 02:00-03:00 Europe/Berlin", ["2026-10-25T00:30", "2026-10-25T01:30"], ["2026-03-29T01:00"]),
    ],
)  # fmt: skip
def test_moments_are_compared_with_the_local_clock(text: str, inside: list[str], outside: list[str]) -> None:
    moments = pd.Series(pd.to_datetime([*inside, *outside], utc=True), index=range(10, 10 + len(inside + outside)))
    assert read_office_hours(text).include(moments).to_dict() == {
        place: place - 10 < len(inside) for place in moments.index
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is not a time zone; write the hours as \"Mo-Fr 08:00-18:00 Europe/Berlin\""),
        ("Mo-Fr 08:00-18:00", "'08:00-18:00' is not a time zone"),
        ("Mo-Fr 08:00-18:00 Europe/Belrin", "'Europe/Belrin' is not a time zone"),
        ("Mo-Fr 08:00-18:00 /etc/passwd", "is not a time zone"),
        ("Mo-Fr 08:00-18:00 Europe", "is not a time zone"),
        ("UTC", "'' is not days and hours"),
        ("Mo-Fr UTC", "'mo-fr' is not days and hours"),
        ("Mo-Fr 8-18 UTC", "'mo-fr 8-18' is not days and hours"),
        ("Mo-Xy 08:00-18:00 UTC", "is not days and hours"),
        ("Mo-Fr 08:00-18:00, UTC", "'' is not days and hours"),
        ("Mo-Fr 08:00-18:60 UTC", "'18:60' is not a time of the day; the latest one is 24:00"),
        ("Mo-Fr 08:00-25:00 UTC", "'25:00' is not a time of the day"),
        ("Mo-Fr 08:00-08:00 UTC", "'08:00-08:00' has no length; write all day as 00:00-24:00"),
        ("Mo-Fr 24:00-06:00 UTC", "'24:00-06:00' has no length"),
    ],
)
def test_a_text_that_is_not_office_hours_is_an_error_of_one_line(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"time|days|length") as error:
        read_office_hours(text)
    assert str(error.value).startswith(says) or says in str(error.value)
    assert "\n" not in str(error.value)
