"""The list of celebrities: what is wrong with it is said with the line, before anything is changed."""

from pathlib import Path

import pytest

from regard.celebrities import PeopleError, read_people

HEADER = "id,name,gender,urls\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("id,name\n1,Ann\n", "no column gender, urls"),
        (HEADER, "nobody is listed"),
        (HEADER + "1,Ann,Female,\n1,Bob,Male,\n", "listed more than once: 1"),
        (HEADER + "a b,Ann,Female,\n", "line 2: the id must be 1 to 128 letters and digits, not 'a b'"),
        (HEADER + "../1,Ann,Female,\n", "letters and digits"),
        (HEADER + "1,Ann,,\n1,,,\n", "line 3: 1 has no name"),
        (HEADER + "1,Ann,female,\n", "the gender must be one of Male, Female, Nonbinary, Unlisted, not 'female'"),
        (HEADER + "2,Bob,,\n", "2 has 0 pictures in"),
        (HEADER + f"1,Ann,,{'u ' * 256}\n", "more than 255 urls"),
    ],
)
def test_a_list_that_is_wrong_is_refused(tmp_path: Path, content: str, complaint: str) -> None:
    (tmp_path / "1.jpg").touch()
    (tmp_path / "people.csv").write_text(content)
    with pytest.raises(PeopleError, match=r"people\.csv") as refusal:
        read_people(tmp_path, tmp_path / "people.csv")
    assert complaint in str(refusal.value)


def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("people.csv", "absent.csv"):
        with pytest.raises(PeopleError, match=name):
            read_people(tmp_path, tmp_path / name)


def test_a_spreadsheets_file_is_read(tmp_path: Path) -> None:
    """With a byte order mark, CRLF, quotes, other columns, capital suffixes."""
    (tmp_path / "7").mkdir()
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / "7" / name).touch()
    (tmp_path / "people.csv").write_bytes(
        '\ufeffname,id,urls,gender,remark\r\n"Åsa, ""Å""",7, a  b ,Nonbinary,x\r\n'.encode()
    )
    (person,) = read_people(tmp_path, tmp_path / "people.csv")
    celebrity = person.celebrity
    assert (celebrity.celebrity_id, celebrity.name, celebrity.urls) == ("7", 'Åsa, "Å"', ("a", "b"))
    assert celebrity.known_gender == "Nonbinary"
    assert [file.name for file in person.pictures] == ["a.png", "b.JPG"]
