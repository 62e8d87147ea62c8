"""Tagged text: names that are joined or kept separate, compounds, CoNLL files, and where an article begins."""

import pytest
from hypothesis import given, strategies as st

from minilm.errors import InputError
from minilm.text.tagged import TaggedLine, article_borders, conll_lines, plain_text, tag_characters, word_tag_lines


def entities(line):
    """The entities of a tagged line, read back from its BIO tags: 'PER 江泽民'."""
    found = []
    for token, tag in zip(line.tokens, line.tags, strict=True):
        if tag[0] == "B":
            found.append([tag[2:], token])
        elif tag[0] == "I":
            assert found[-1][0] == tag[2:]
            found[-1][1] += token
    return [" ".join(entity) for entity in found]


def test_words_come_as_characters_with_bio_tags():
    line = tag_characters("江/nr  泽民/nr  在/p  北京/ns  。/w\n")
    assert line == TaggedLine(list("江泽民在北京。"), ["B-PER", "I-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"])


@pytest.mark.parametrize(
    ("words", "persons"),
    [
        ("张 宪忠 徐 志蔚", "张宪忠 徐志蔚"),
        ("王 谨 王 锦鹄", "王谨 王锦鹄"),
        ("徐 建中 陈 波 赵 川东", "徐建中 陈波 赵川东"),
        ("李 鹏 乔 石", "李鹏 乔石"),
        ("欧阳 山尊", "欧阳山尊"),
        ("沛新 小丰", "沛新 小丰"),
        ("张 书政 秉广 向军", "张书政 秉广 向军"),
        ("陈 方 安生", "陈方安生"),
        ("潘 福东 振华", "潘福东 振华"),
        ("马克思 恩格斯", "马克思 恩格斯"),
        ("江", "江"),
        ("阿不来提·阿不都热西提", "阿不来提·阿不都热西提"),
        ("秦 惠（君音）", "秦惠（君音）"),
    ],
)
def test_surname_and_given_name_are_one_person_and_neighbours_are_two(words, persons):
    line = "记者/n " + " ".join(f"{word}/nr" for word in words.split()) + " 报道/v"
    assert entities(tag_characters(line)) == [f"PER {person}" for person in persons.split()]


def test_a_mark_between_names_keeps_them_apart_and_titles_are_no_names():
    line = tag_characters("江/nr  主席/n  、/w  李/nr  鹏/nr  、/w  老吴/nr  和/c  秦/nr  大使/n")
    assert entities(line) == ["PER 江", "PER 李鹏", "PER 老吴", "PER 秦"]


def test_places_side_by_side_are_two_places():
    assert entities(tag_characters("四川/ns  成都/ns  新华社/nt")) == ["LOC 四川", "LOC 成都", "ORG 新华社"]


@pytest.mark.parametrize("close", ["]nt", "]/nt"])
def test_a_bracketed_compound_is_one_entity_and_the_tags_inside_are_dropped(close):
    line = tag_characters(f"[中国/ns  国际/n  广播/vn  电台/n{close}  在/p  [北京/ns  饭店/n]nz  报道/v")
    assert entities(line) == ["ORG 中国国际广播电台", "LOC 北京"]
    assert "".join(line.tokens) == "中国国际广播电台在北京饭店报道"


def test_plain_text_is_the_line_without_tags_brackets_and_paragraph_numbers():
    assert plain_text("19980101-01-001-001/m  [中国/ns  人民/n]nt  １/２/m  ／/w") == "中国人民１/２／"


@given(
    st.lists(
        st.tuples(
            st.text("江泽民马克思欧阳山尊·北京", min_size=1, max_size=5), st.sampled_from(["nr", "ns", "nt", "n", "w"])
        )
    )
)
def test_no_character_is_lost_and_every_entity_opens_with_b(words):
    line = tag_characters(" ".join(f"{word}/{tag}" for word, tag in words))
    assert "".join(line.tokens) == "".join(word for word, _ in words)
    assert len("".join(entities(line))) == sum(len(w) for w, t in words if t != "n" and t != "w") + 4 * len(
        entities(line)
    )


def test_a_line_that_is_not_word_tag_is_refused_with_its_line(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("北京/ns\n\n你好\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"a\.txt, line 3: '你好' does not have the form word/tag"):
        list(word_tag_lines(path))
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="is empty"):
        list(word_tag_lines(path))


# ------------------------------------------------------------------------------------------ CoNLL


def conll(tmp_path, content):
    path = tmp_path / "a.conll"
    path.write_text(content, encoding="utf-8")
    return list(conll_lines(path))


def test_conll_with_tabs_spaces_and_more_columns(tmp_path):
    content = "\ufeff-DOCSTART- -X- O O\n\nAnn\tNNP\tB-PER\nLee NNP I-PER\nsings  VBZ O\n\n\n\nParis NNP  B-LOC"
    assert conll(tmp_path, content) == [
        TaggedLine(["Ann", "Lee", "sings"], ["B-PER", "I-PER", "O"]),
        TaggedLine(["Paris"], ["B-LOC"]),
    ]


def test_an_i_that_continues_nothing_opens_an_entity(tmp_path):
    content = "a I-PER\nb I-PER\nc I-LOC\nd O\ne I-LOC\n\nf I-LOC\n"
    first, second = conll(tmp_path, content)
    assert first.tags == ["B-PER", "I-PER", "B-LOC", "O", "B-LOC"]
    assert second.tags == ["B-LOC"]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("a O\n\nb\n", "line 3: 'b' has no tag"),
        ("a O\nb PER\n", "line 2: 'PER' is not a BIO tag"),
        ("a B-\n", "line 1: 'B-' is not a BIO tag"),
        ("\n\n", "is empty"),
    ],
)
def test_a_bad_conll_file_is_refused_with_its_line(tmp_path, content, what):
    with pytest.raises(InputError, match=what):
        conll(tmp_path, content)


# --------------------------------------------------------------------------------------- articles


def test_an_article_begins_at_its_headline_or_its_date_line():
    lines = [
        "迈向充满希望的新世纪（附图片１张）",  # 0: headline, note, date, text
        "（一九九七年十二月三十一日）",
        "今天是个好日子。",
        "制度把关",  # a sub-heading of four characters
        "大家都很高兴。（记者张三）",
        "谢谢！（新华社电）",  # short, but not a headline
        "（李四摄）",
        "北京举行新年音乐会",  # 7: two lines of headline, a line of authors
        "江泽民李鹏与首都各界群众出席",
        "本报记者王五",
        "本报北京１月１日讯音乐会昨天举行。",  # its date line does not start another article
        "一、曲目很多",
        "观众说：“很好！”",
        "据新华社上海１月１日电上海下雪了。",  # 13: without a headline
        "本报讯广州很暖和。",  # 14: one more without a headline
    ]
    assert article_borders(lines) == [range(0, 7), range(7, 13), range(13, 14), range(14, 15)]


def test_the_first_line_begins_the_first_article_and_no_lines_have_none():
    assert article_borders(["今天很好。", "明天也好。"]) == [range(0, 2)]
    assert article_borders([]) == []


@given(st.lists(st.text("新闻。讯本报“”（）一、", max_size=12)))
def test_articles_cover_every_line_once_in_order(lines):
    assert [number for article in article_borders(lines) for number in article] == list(range(len(lines)))
    assert all(len(article) > 0 for article in article_borders(lines))
