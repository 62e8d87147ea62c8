"""What a job changed or left out is shown once and kept."""

from minilm.files.notes import FILE, Notes, unheard


def test_each_note_is_shown_once_and_written(tmp_path):
    said = []
    notes = Notes(said.append)
    notes("2 rows are duplicates and were left out.")
    notes("2 rows are duplicates and were left out.")
    notes("Ж 行 are rows, too.")
    notes.write(tmp_path / "run")
    assert said == ["note: 2 rows are duplicates and were left out.", "note: Ж 行 are rows, too."]
    text = (tmp_path / "run" / FILE).read_text(encoding="utf-8")
    assert text == "2 rows are duplicates and were left out.\nЖ 行 are rows, too.\n"


def test_a_run_that_is_continued_keeps_what_was_said_before(tmp_path):
    for said in (["one.", "two."], ["two.", "three."], []):
        notes = Notes(unheard)
        for line in said:
            notes(line)
        notes.write(tmp_path, add=True)
    assert (tmp_path / FILE).read_text(encoding="utf-8") == "one.\ntwo.\nthree.\n"


def test_without_notes_an_older_file_goes(tmp_path):
    (tmp_path / FILE).write_text("of an earlier run\n", encoding="utf-8")
    Notes(unheard).write(tmp_path)
    assert not (tmp_path / FILE).exists()
