"""All kinds of tasks, and which of them a model was trained for.  F07, F28, F30, F31.

The base of all tasks is in `task.py`. Those about whole texts are in `text_tasks.py` (one class, several labels, a number,
relations), those about every word in `word_tasks.py` (entities, parts of speech, borders of words).
"""

from minilm.models.heads import HeadConfig, TextHeadConfig, TokenHeadConfig
from minilm.training.task import Entity as Entity, Prediction as Prediction, Task as Task
from minilm.training.text_tasks import TextTask
from minilm.training.word_tasks import TagTask, TokenTask, UnitTask, WordTask, shown as shown

MARKS: dict[str, type[UnitTask]] = {kind.marks: kind for kind in (TokenTask, TagTask, WordTask)}


def task_of(head: HeadConfig) -> Task:
    """The task that a classifier with this head was trained for."""
    if isinstance(head, TextHeadConfig):
        return TextTask(head.labels, head.pairs)
    assert isinstance(head, TokenHeadConfig)
    return MARKS[head.marks](head.labels, head.units, head.longest_word)
