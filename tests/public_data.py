"""Real instruction data out of packages of the registry: where they lie, what they hold, and a fetcher.

Nothing of them is kept in the repository. An archive is downloaded once by pip, only the file that is named is read out of it
(nothing is unpacked by its path), and its hash is compared before it is used.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

# Kept between runs of the tests, outside of what each test isolates.
CACHE = Path(os.environ.get("TUNEDECK_TEST_CACHE", Path.home() / ".cache" / "tunedeck-tests")) / "public"
_MOST_BYTES = 64 << 20
_SECONDS = 300


class Unreachable(Exception):
    """The package registry does not answer, or does not have the package."""


@dataclass(frozen=True)
class Package:
    """A pinned package. ``sdist``: its source archive is meant, else its wheel."""

    name: str
    version: str
    licence: str
    sdist: bool


FACTORY = Package("llamafactory", "0.9.5", "Apache-2.0", sdist=True)
FAQ = Package("zaragoza-construction-faq", "1.2.1", "CC-BY-4.0", sdist=False)
COOKBOOK = Package("tinker-cookbook", "0.6.1", "Apache-2.0", sdist=True)
INSPECT = Package("inspect-ai", "0.3.285", "MIT", sdist=False)
SDG = Package("instructlab-sdg", "0.8.3", "Apache-2.0", sdist=True)
EVALS = Package("evals", "3.0.1.post1", "MIT", sdist=False)
AUTORAG = Package("autorag", "0.1.6", "Apache-2.0", sdist=True)


@dataclass(frozen=True)
class Public:
    """One file of a package.

    ``rows`` and ``messages`` were counted with ``json``, ``csv`` and ``pyarrow`` alone; ``picked`` are the numbers (from 0) of
    the ten rows whose masks are looked at; ``refused`` is the kind of problem by which a file that is no data for this is
    refused; ``fields`` is what a person sets as ``data_fields`` where the columns have names of their own.
    """

    package: Package
    member: str
    sha256: str
    format: str
    shape: str
    rows: int
    messages: int = 0
    picked: tuple[int, ...] = ()
    refused: str = ""
    fields: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For people."""
        return " ".join((f"{self.package.name}/{self.member.rpartition('/')[2]}", *self.fields))


TEN = (0, 1, 2, 17, 33, 50, 64, 77, 90, 99)
TO_20 = (0, 1, 3, 5, 8, 11, 13, 15, 17, 19)
OF_16 = (0, 1, 2, 4, 6, 8, 10, 12, 14, 15)
ALL_TEN = tuple(range(10))
# Questions as messages, answers as text.
_GUIDE = "inspect_ai/dataset/_examples/security_guide.jsonl"
_GUIDE_SHA256 = "7d23ce65b503e20154bed558efa434f73903655668032a3c1f9aa9b72539cbb5"
# Prompts, questions and what a model answered, a column each.
_ANSWERS = "tests/resources/result_project/0/post_retrieve_node_line/generator/best_5.parquet"
_ANSWERS_SHA256 = "eb975b9f606788d399f9ef80bf6d5c6a2dd81000fc90abc4409e6c2ae73d98f0"

PUBLIC = [
    Public(FACTORY, "data/alpaca_en_demo.json", "bcc37c64db1a739a0789a1b81f251146fcf4459f903474bc9e3c21bbb5628318",
           "JSON", "alpaca", 999, 1998, TEN),
    Public(FACTORY, "data/alpaca_zh_demo.json", "d5a4be46ae70d23a461ffc16048069324c0865ee9aa0c8730e21ac4b65ea0f08",
           "JSON", "alpaca", 1000, 2000, TEN),
    Public(FACTORY, "data/identity.json", "fd029da7dd3df283ed034c82375d16d125a7b07cf1cb0316d03fb8743057d5f2",
           "JSON", "alpaca", 91, 182, (0, 1, 2, 17, 33, 50, 64, 77, 88, 90)),
    Public(FACTORY, "data/glaive_toolcall_en_demo.json", "8b84773e44e71881f32490080350734cad3069dc227eafd771ccfb80732f6437",
           "JSON", "sharegpt", 300, 1914, TEN),
    Public(FACTORY, "data/glaive_toolcall_zh_demo.json", "d5bbc25b250ff7578ea339abe90a612511866d9beb1ea3b66d094b4f250c9c50",
           "JSON", "sharegpt", 300, 1880, TEN),
    Public(FACTORY, "data/c4_demo.jsonl", "f51528081ef22279f2840c02c4cd7cdfc372138be0817c5b8714d200af692b78",
           "JSONL", "text", 300, 300, TEN),
    Public(FACTORY, "data/v1_sft_demo.jsonl", "a69bf0e0cc728835b3923ea41d328b5a28f317cf20401202cfe550ded4d86642",
           "JSONL", "messages", 500, 1000, TEN),
    Public(FACTORY, "data/reason_tool_use_demo_50.jsonl", "6e1f0d3cbb8b0a6c73362bd42c33fa45256e7c8cb8ae74608ec7f9c6774b7e4e",
           "JSONL", "messages", 50, 274, (0, 1, 2, 5, 11, 17, 23, 33, 42, 49)),
    Public(COOKBOOK, "tinker_cookbook/example_data/conversations.jsonl", "cafb8924efecb2413006122ad32bf3969830811c32668ab3d21d48d7e9f866d6",
           "JSONL", "messages", 128, 281, TEN),
    Public(FAQ, "zaragoza_construction_faq/data/faq-alpaca.jsonl", "262abe9e195ce731919037ffe9c972f0bb45022df873d7fc80ce8189dce7efd9",
           "JSONL", "alpaca", 503, 1006, TEN),
    Public(FAQ, "zaragoza_construction_faq/data/faq-en-sharegpt.jsonl", "9b39983be95a5654950da816a402d3298d21a0dc32b217232b81b6d62dbeb7dd",
           "JSONL", "sharegpt", 503, 1006, TEN),
    Public(FAQ, "zaragoza_construction_faq/data/faq-sharegpt.jsonl", "88bfdec13f3c73e3735ec84b5e6caa62ea073a330ee68f692b66d87f508c2b84",
           "JSONL", "sharegpt", 503, 1006, TEN),
    Public(FAQ, "zaragoza_construction_faq/data/faq-en.csv", "4c7e1c91276936d91efe6d3ca9b798db5d768de8a9ffbaefd62c531ba2b81e4c",
           "CSV", "query_response", 503, 1006, TEN),
    Public(FAQ, "zaragoza_construction_faq/data/faq.csv", "df7b624ba4493c0dcf6a2c3b4e57970fdba2971dfcd03bac0854530a2cb19e2f",
           "CSV", "query_response", 503, 1006, TEN),
    Public(FAQ, "zaragoza_construction_faq/data/faq-en.json", "872d2725ee0682049aeb1180823237fa4320e95c5d0b28251c287145bdc64ca9",
           "JSON", "query_response", 503, 1006, TEN),
    Public(FAQ, "zaragoza_construction_faq/data/faq.jsonl", "caebebbdc7ad2ad24a9d0dc184b899c274cebb888b0b1b83fbb0f9c660bcf5bc",
           "JSONL", "query_response", 503, 1006, TEN),
    Public(INSPECT, "inspect_ai/dataset/_examples/biology_qa.jsonl", "1df92bf17453db1e8282377ecca6d619f143f9911f8b9eba16a2d7e30f5448ab",
           "JSONL", "query_response", 20, 40, TO_20),
    Public(INSPECT, "inspect_ai/dataset/_examples/theory_of_mind.jsonl", "d67dcc9d8f95a9e22453016f28fb99fba8cf17b1d32f6f4dee739c5b6e7fd61c",
           "JSONL", "query_response", 100, 200, TEN),
    Public(INSPECT, "inspect_ai/dataset/_examples/bias_detection.jsonl", "b9f5d464c8ec261636fe527d8ff889eb0d1f8aecb0ed342625e305a0ea8a6333",
           "JSONL", "query_response", 100, 200, TEN),
    Public(INSPECT, _GUIDE, _GUIDE_SHA256, "JSONL", "query_response", 16, 32, OF_16),
    Public(INSPECT, _GUIDE, _GUIDE_SHA256, "JSONL", "prompt_completion", 16, 32, OF_16,
           fields=("prompt=input", "completion=target")),
    Public(INSPECT, "inspect_ai/dataset/_examples/popularity.jsonl", "63ab0152cdf59fb0526d8808f641ded04e56648d996f2781b5de6c8ad0d5a44d",
           "JSONL", "query_response", 100, 200, TEN, fields=("query=question", "response=answer_matching_behavior")),
    Public(EVALS, "evals/registry/data/iambic-pentameter/samples.jsonl",
           "43ce69cbb5cbbbe1efa83628653c254663abac6f5587b9b42d6872e9edf3da37", "JSONL", "prompt_completion", 100, 200, TEN),
    # Prompts as two messages, completions as text.
    Public(EVALS, "evals/registry/data/coq-editing/labeled-samples.jsonl",
           "ca62465a32bb9eaa89cc0280feb333cf36cc2307d48e785d8ec3b3cfd3640ada", "JSONL", "prompt_completion", 32, 96,
           (0, 1, 2, 5, 9, 13, 17, 22, 27, 31)),
    Public(SDG, "docs/examples/annotation/annotation_results.jsonl", "7e99d82516843c81bad8f648cf20b290f331696ab89a9217986c7e31247adbd6",
           "JSONL", "text", 463, 463, TEN),
    Public(AUTORAG, "tests/resources/corpus_data_sample.parquet", "0fe74568301d61265ce87a76fb7b609f0480e018170d6c275f21c382b1fcb4be",
           "Parquet", "text", 30, 30, (0, 1, 2, 5, 9, 13, 17, 21, 25, 29)),
    # Answers as lists of one text each, beside a list of lists.
    Public(AUTORAG, "tests/resources/qa_data_sample.parquet", "70fa30e911d6b748f44e768fe593b6227ba77d6461395e36dc9caf3251f86ab8",
           "Parquet", "query_response", 10, 20, ALL_TEN, fields=("response=generation_gt",)),
    Public(AUTORAG, _ANSWERS, _ANSWERS_SHA256, "Parquet", "query_response", 10, 20, ALL_TEN, fields=("response=generated_texts",)),
    Public(AUTORAG, _ANSWERS, _ANSWERS_SHA256, "Parquet", "prompt_completion", 10, 20, ALL_TEN,
           fields=("prompt=prompts", "completion=generated_texts")),
    Public(FACTORY, "data/dpo_en_demo.json", "b949be2421cfa62744afcf1b479f95b299d643d1a4c1c97d1341b314a1aa5cb3",
           "JSON", "", 300, refused="preference-pairs"),
    Public(FACTORY, "data/v1_dpo_demo.jsonl", "ff734cc0fd75d01b4b6d143573403719f3a1f13d295ea42ef19ae8b86740285c",
           "JSONL", "", 10, refused="preference-pairs"),
    Public(FACTORY, "data/kto_en_demo.json", "9891687dea7c00e54af2e39534085c151ce3462d073574eeff2af927cc56fb74",
           "JSON", "", 300, refused="preference-pairs"),
    Public(FACTORY, "data/mllm_demo.json", "0732db8e2351bc22233268e2956bed1f66c75343c27bdc08b80b2a47e12c7f24",
           "JSON", "", 6, refused="images"),
    Public(FACTORY, "data/mllm_audio_demo.json", "01dc8fa923c29ef72a9d30392e34c5708c272011835fb245cbe183a7786f0ca5",
           "JSON", "", 3, refused="images"),
    Public(FACTORY, "data/mllm_video_demo.json", "53cf8320bb1aaa7303af24a3714acbf768c8be942798070aa80363caba1e02ed",
           "JSON", "", 3, refused="images"),
    Public(FACTORY, "data/wiki_demo.txt", "69c0c4d067a95a1a65022f2ae1efff9654b1953b09f206f8832620ebbffa0daf",
           "", "", 0, refused="bare-text"),
]  # fmt: skip


def fetch(public: Public) -> Path:
    """The file in the cache. Raises :class:`Unreachable`, and ``AssertionError`` where it is not the one that is meant."""
    kept = CACHE / f"{public.package.name}-{public.package.version}" / public.member.rpartition("/")[2]
    if not kept.is_file():
        kept.parent.mkdir(parents=True, exist_ok=True)
        partly = kept.with_name(f".{kept.name}.{os.getpid()}")
        partly.write_bytes(member(archive(public.package), public))
        partly.replace(kept)
    digest = hashlib.sha256(kept.read_bytes()).hexdigest()
    assert digest == public.sha256, f"{kept} is not the file that was looked at"
    return kept


def archive(package: Package) -> Path:
    """The downloaded archive."""
    folder = CACHE / f"{package.name}-{package.version}"
    folder.mkdir(parents=True, exist_ok=True)
    ending = ".tar.gz" if package.sdist else ".whl"
    found = next(folder.glob(f"*{ending}"), None)
    if found is None:
        kind = ["--no-binary", ":all:"] if package.sdist else ["--only-binary", ":all:"]
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            *kind,
            "-d",
            str(folder),
            f"{package.name}=={package.version}",
        ]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            raise Unreachable(f"the package registry did not give {package.name} within {_SECONDS} s") from None
        found = next(folder.glob(f"*{ending}"), None)
        if result.returncode or found is None:
            raise Unreachable(
                f"the package registry does not give {package.name}=={package.version}: {result.stderr[-300:]}"
            )
    return found


def member(path: Path, public: Public) -> bytes:
    """The bytes of the one file that is meant, read without unpacking anything."""
    package = public.package
    if not package.sdist:
        with zipfile.ZipFile(path) as whole:
            assert whole.getinfo(public.member).file_size <= _MOST_BYTES
            return whole.read(public.member)
    with tarfile.open(path) as whole_tar:
        found = whole_tar.getmember(f"{package.name.replace('-', '_')}-{package.version}/{public.member}")
        stream = whole_tar.extractfile(found) if found.isreg() else None
        assert stream is not None and found.size <= _MOST_BYTES, f"{public.name} is no ordinary file"
        return stream.read()
