"""All kinds of tasks, and which of them a model was trained for.  F07, F28, F30, F31.

The base of all tasks is in `task.py`. Those about whole texts are in `text_tasks.py` (one class, several labels, a number,
relations) and `prompt_task.py`, those about every word in `word_tasks.py` (entities, parts of speech, borders of words), and
answers that stand in a text in `span_task.py`.
"""

from minilm.models.heads import NUMBER, SEVERAL, HeadConfig, SpanHeadConfig, TextHeadConfig, TokenHeadConfig
from minilm.models.verbaliser import VerbaliserConfig
from minilm.training.prompt_task import PromptTask
from minilm.training.span_task import SpanTask
from minilm.training.task import Entity as Entity, Prediction as Prediction, Task as Task
from minilm.training.text_tasks import LabelsTask, NumberTask, RelationTask, TextTask as TextTask
from minilm.training.word_tasks import TagTask, TokenTask as TokenTask, UnitTask as UnitTask, WordTask, shown as shown

MARKS: dict[str, type[UnitTask]] = {kind.marks: kind for kind in (TokenTask, TagTask, WordTask)}


def task_of(head: HeadConfig) -> Task:
    """The task that a classifier with this head was trained for."""
    if isinstance(head, VerbaliserConfig):
        return PromptTask(head.labels, template=head.template)
    if isinstance(head, SpanHeadConfig):
        return SpanTask(head.labels)
    if isinstance(head, TokenHeadConfig):
        return MARKS[head.marks](head.labels, head.units, head.longest_word)
    assert isinstance(head, TextHeadConfig)
    if head.problem_type == NUMBER:
        return NumberTask(head.labels, head.pairs, head.center, head.scale)
    if head.problem_type == SEVERAL:
        return LabelsTask(head.labels, head.pairs)
    return RelationTask(head.labels, False, head.markers) if head.markers else TextTask(head.labels, head.pairs)
