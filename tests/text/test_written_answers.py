"""The corpus `written-answers`: what counts as a question with an answer, and which questions are the same."""

import pytest

from minilm.errors import InputError
from minilm.text import corpus
from minilm.text.written_answers import TOPICS, Question, questions_of


def written(folder, text):
    path = folder / "help.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_same_words_are_one_question_with_all_answers(tmp_path):
    text = "conversations:\n- [Is it on?, 'Yes.']\n- [is it  on, 'Try it.', 'I did.']\n- [Why?, Because.]\n- [Is it on?, 'Yes.']\n"
    questions, rows = questions_of(written(tmp_path, text), "help")
    assert rows == 4
    assert questions == [Question("help", "Is it on?", ("Yes.", "Try it.")), Question("help", "Why?", ("Because.",))]


def test_what_is_no_question_with_an_answer_is_left_out_and_said(tmp_path):
    heard = []
    text = "conversations:\n- [Why?, Because.]\n- Why? - Because.\n- [alone]\n- [Why?, 3]\n- ['', Nothing.]\n"
    assert questions_of(written(tmp_path, text), "help", heard.append).rows == 1
    assert heard == ["help.yml: 4 of 5 rows left out, as they are no question with its answer."]


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "cannot be read as YAML"), ("a: 1\n", "no list of conversations")]
)
def test_another_file_is_refused(text, message, tmp_path):
    with pytest.raises(InputError, match=message):
        questions_of(written(tmp_path, text), "help")


def test_the_corpus_is_what_is_said_of_it():
    found = {topic: corpus.written_answers(topic) for topic in TOPICS}
    assert sum(len(rows.questions) for rows in found.values()) == corpus.CORPORA["written-answers"].examples == 750
    assert (found["tech_support"].rows, len(found["tech_support"].questions)) == (1_050, 10)
    with pytest.raises(InputError, match="'written-answers' has no documents: minilm service uses it"):
        corpus.documents("written-answers")
