"""Strings of user interfaces in English with their Chinese, as translators wrote them, in files of three Python packages.

    *.json   JupyterLab and its extensions: {"context\\x04English": ["Chinese", …]}
    *.mo     Django and Sphinx, in the format of GNU gettext: a table of originals and a table of translations

Source:  GNU gettext manual, "The Format of GNU MO Files".
"""

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from minilm.errors import InputError

_JSON, _MO = "locale/zh_CN/LC_MESSAGES/", "/locale/zh_Hans/LC_MESSAGES/"  # where they lie in the packages
_JUPYTERLAB = {
    "dask_labextension.json": "a412a0e410aebc8cc819cb2a7eb62df01c957a76c87bf5c333284e409fe478a0",
    "jupyter_archive.json": "967b081d0d4b7086393de765e3922b28eecbd63f44aeb751cebe7f2ac33a3eca",
    "jupyter_collaboration.json": "938e9cff71f36d00315fbe469784f2732d1eb5ab62a90dbbff0bdd2a2df7b514",
    "jupyter_resource_usage.json": "a5e0e3cde53a3505ca99838d1ce7d7e3f6bdf91624fafe84352fe2898d414d08",
    "jupyterlab.json": "1ba8c2bfe9042556386e3dda22afba5849d8fc1a2aa85d5c9eb2974b5c8412f4",
    "jupyterlab_git.json": "4a9ea7dae52b615d4c015a228c9ada48c887b2f00492a8d622076002fdf887f5",
    "jupyterlab_lsp.json": "a28d100c367a88e26652f8b87ebb0d75966ec8fb4a66b2de1444873e75d5480d",
    "jupyterlab_recents.json": "6b3967e6c7450c60f8fad2eb5a239748df2c5fdbac09e4faa247b1272e1a8d35",
    "jupyterlab_search_replace.json": "546a203436d7e2388f4b65bf66e99d08f52cc055958155ca9cbbed4624f41339",
    "jupyterlab_spreadsheet_editor.json": "55beaa855464c6a6b141f2703ecbc4c83753ea328507a6c97dddb113838d5eba",
    "jupyterlab_tour.json": "7b36733c7590c5f5e7a7336d25899c298c48a2de3fa49625665593b12d8426c6",
    "jupyterlab_widgets.json": "21064c4df0eba23cb8118684b4df41f6cbb049befc87af48988a4ce54fcdd64c",
    "jupytext.json": "264b5dde49abcdd7870b5efc09fc4cfc56d4265a4a542ca9fda1f0f9f02fd1f6",
    "nbdime.json": "95d937c927efc2ed79d9ec837671b69d3ef35262c6822ccfd1f05a2f125a0468",
    "notebook.json": "d6882bc0c72380e9668c985d6afe93040484660050d21a18293e15a32a97f53a",
    "retrolab.json": "633674e08cdecdb298407c87eff9e1c459708db6049db4ecb34014358a8be06c",
    "spellchecker.json": "598f36899ef66a466fce2fa52e3c72d5fa3d974e5b7d31472c22121f8664b48a",
}
_DJANGO = {
    "conf/django.mo": "099a8a392f72c616cdd4184d1df7d9749dea13541a78899d5bc5d4a9ee56ddb1",
    "contrib/admin/django.mo": "32a7fed87fd0516dc4c77d27fca496756b9f3ba805518494b01c5d5b8d7c86e3",
    "contrib/admin/djangojs.mo": "fa868fb684be2b58817e6a4eb67fbf5c5baa25a14b1430c5cd9e844e8682f20d",
    "contrib/admindocs/django.mo": "9e03e5c4df39c0638c2a8a3738adf05107a29286b13caa8022c830dbfd28bcde",
    "contrib/auth/django.mo": "6ee0df53ab6117ba37f5e30241a751c4d287a6bafee353cff908dd729f9ada6e",
    "contrib/contenttypes/django.mo": "46f88ad1ba8b6733eb678eb15297347fc20a930dc92edb2bb7480d03be18a63d",
    "contrib/flatpages/django.mo": "513090afdb76c128fa7582cad5fb6917cfa9676e5d00c60b444db011442f6bea",
    "contrib/gis/django.mo": "36f362470c2eaab98e5aa8a2b98868c53b370976fd66ad3e47fd9856163a9f7e",
    "contrib/humanize/django.mo": "6207808d71cc575ad734d22b943bbf85ac67281d21c54e6dc09f3a2cc475d24f",
    "contrib/postgres/django.mo": "967fe9e8c46ce493ef4c05c5cde8176270822a48be2c4aff6223b0eac2bca0f0",
    "contrib/redirects/django.mo": "89fb5bfc771c355dfcdffa1d1db07a4e2927da1ec4b4fffd40af8f96adb1c136",
    "contrib/sessions/django.mo": "cec6e120ca1c801f189f55c40716c821b061f2d2e27efbd836585ee54eb5721f",
    "contrib/sites/django.mo": "ec3f7fa43639941469a3591fcc840bf8f36f220fa87c29bb7011c4d7e25694c9",
}
JUPYTERLAB = {_JSON + name: sha for name, sha in _JUPYTERLAB.items()}
DJANGO = {_MO.join(name.rsplit("/", 1)): sha for name, sha in _DJANGO.items()}
SPHINX = {_JSON + "sphinx.mo": "38056c53e7fae440b4d54485b6050a7d8e20b5d863c9e98c419cc670d510d3bc"}

CONTEXT, PLURAL = "\x04", "\0"
MAGIC = 0x950412DE
CHINESE = re.compile("[\u4e00-\u9fff]")


def translations(path: Path) -> Iterator[tuple[str, str]]:
    """The pairs (English, Chinese) of a file, without the spaces around them. Of a plural, the first form of each.

    A string without a translation, or whose translation has no Chinese in it (a name, a unit), is no pair.
    """
    entries = of_json(path) if path.suffix == ".json" else of_mo(path)
    for original, translated in entries:
        english = original.split(CONTEXT)[-1].split(PLURAL)[0].strip()
        chinese = translated.split(PLURAL)[0].strip()
        if english and CHINESE.search(chinese):
            yield english, chinese


def of_json(path: Path) -> Iterator[tuple[str, str]]:
    """The entries of a file of JupyterLab. The one without a name is its header."""
    for original, forms in json.loads(path.read_text(encoding="utf-8")).items():
        if original:
            yield original, forms[0]


def of_mo(path: Path) -> Iterator[tuple[str, str]]:
    """The entries of a file of GNU gettext. Raises InputError for a file that is none."""
    data = path.read_bytes()
    order = next((o for o in "<>" if data[:4] == struct.pack(f"{o}I", MAGIC)), None)
    if order is None or len(data) < 20:
        raise InputError(f"{path} is not a file of GNU gettext (.mo).")
    _, count, *tables = struct.unpack(f"{order}4I", data[4:20])
    texts: list[list[str]] = []
    for start in tables:  # of originals, of translations: the length of each text, and where it stands
        places = struct.iter_unpack(f"{order}2I", data[start : start + 8 * count])
        texts.append([data[at : at + length].decode("utf-8") for length, at in places])
    for original, translated in zip(*texts, strict=True):
        if original:
            yield original, translated
