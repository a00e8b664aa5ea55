"""The pretraining corpus: plain text and ordinary chats of this project's own making, from text/ and the lists below.

It tells the facts of text/ in prose, in plain chats and in translation, and adds small talk, sums, little stories and
some English prose. It never speaks in the house style of the sample rows and holds none of them: that style is what
LoRA has to learn. The English prose is the language reference that comes with Python as `pydoc_data.topics`
(Python Software Foundation License 2).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from facts import LANGUAGES, TEXT, Fact, Side, content_lines, fields, josa, load_facts

Message = dict[str, str]
Document = str | list[Message]  # prose, or the messages of a chat

SYSTEM = {
    "en": ["You are a helpful assistant.", "Answer the question briefly.", "You answer in plain sentences.", "Be polite."],
    "ko": ["당신은 도움이 되는 도우미입니다.", "질문에 짧게 답하세요.", "쉬운 문장으로 답하세요.", "공손하게 말하세요."],
}
ASK = {
    "en": [
        "{q}", "{q}", "{q}", "{q}", "Please help me. {q}", "{q} Thanks.", "What do you know about {t}?", "Explain {t}.",
        "Can you tell me about {t}?", "I am wondering about {t}.", "Good morning. {q}", "{q} I have no idea.",
    ],
    "ko": [
        "{q}", "{q}", "{q}", "{q}", "도와주세요. {q}", "{q} 감사합니다.", "{t}에 대해 무엇을 알고 있나요?", "{tr} 설명해 주세요.",
        "{t}에 대해 말해 줄래요?", "{tn} 어떤가요?", "좋은 아침이에요. {q}", "{q} 전혀 모르겠어요.",
    ],
}
ANSWER = {
    "en": ["{s}", "{s} {w}", "{s} {w}", "{s} {w} {n}", "Sure. {s} {w}", "{s} {n}", "Here is what I know. {s} {w} {n}"],
    "ko": ["{s}", "{s} {w}", "{s} {w}", "{s} {w} {n}", "네. {s} {w}", "{s} {n}", "제가 아는 것은 이렇습니다. {s} {w} {n}"],
}
PROSE = {
    "en": ["{T}. {s} {w} {n}", "A note on {t}. {s} {w}", "{q} {s} {w} {n}", "About {t}: {s} {n}", "{q}\n{s}\n{w}\n{n}"],
    "ko": ["{t}. {s} {w} {n}", "{t}에 대한 메모. {s} {w}", "{q} {s} {w} {n}", "{tn} 이렇습니다. {s} {n}", "{q}\n{s}\n{w}\n{n}"],
}
WHY = {"en": ["Why is that?", "Why?", "What is the reason?"], "ko": ["왜 그런가요?", "왜요?", "까닭이 뭔가요?"]}
NEXT = {"en": ["What comes after that?", "Anything else?", "And then?"], "ko": ["그다음에는요?", "더 할 것이 있나요?", "그리고요?"]}
REPEAT = {"en": ["Sorry, once more?", "Can you repeat the main point?"], "ko": ["다시 한번요?", "요점을 다시 말해 줄래요?"]}
TRANSLATE = {
    "en": ["Say this in Korean: {x}", "Translate into Korean. {x}", "How do Koreans say this? {x}"],
    "ko": ["영어로 옮겨 주세요. {x}", "이 말을 영어로 하면? {x}", "영어로: {x}"],
}
NAMES = [("Mina", "미나"), ("Jun", "준"), ("Hana", "하나"), ("Sora", "소라"), ("Tom", "톰"), ("Yuna", "유나"), ("Ben", "벤"), ("Nari", "나리")]
PLACES = [
    ("the market", "시장"), ("the library", "도서관"), ("the beach", "바닷가"), ("the park", "공원"), ("the office", "사무실"),
    ("the bakery", "빵집"), ("the station", "역"), ("the garden", "마당"),
]
SKIES = [
    ("sunny", "맑은"), ("cloudy", "흐린"), ("rainy", "비 오는"), ("snowy", "눈 오는"), ("windy", "바람 부는"), ("warm", "따뜻한"), ("cold", "추운"),
]
TIMES = [("morning", "아침"), ("afternoon", "오후"), ("evening", "저녁"), ("day", "날")]
THINGS = [
    ("a loaf of bread", "빵 한 덩이"), ("two apples", "사과 두 개"), ("a small umbrella", "작은 우산"), ("a book", "책 한 권"),
    ("some green tea", "녹차"), ("a bag of rice", "쌀 한 봉지"), ("a pair of socks", "양말 한 켤레"), ("a yellow flower", "노란 꽃"), ("six eggs", "달걀 여섯 개"),
]
FRIENDS = [("a friend", "친구"), ("a neighbour", "이웃"), ("a cat", "고양이"), ("the teacher", "선생님"), ("a colleague", "동료")]
ENDS = [
    ("Then it was time to go home.", "그러고는 집에 갈 시간이 되었습니다."), ("It was a good day.", "좋은 하루였습니다."),
    ("They talked until the sun went down.", "둘은 해가 질 때까지 이야기했습니다."), ("Nobody was in a hurry.", "아무도 서두르지 않았습니다."),
    ("They drank tea and laughed.", "둘은 차를 마시며 웃었습니다."), ("The loss had fallen overnight.", "밤사이 손실이 내려가 있었습니다."),
]
STORY_ASK = {"en": ["Tell me a short story.", "A story, please.", "Write a few lines."], "ko": ["짧은 이야기를 들려주세요.", "이야기 하나 해 주세요.", "몇 줄만 써 주세요."]}


def chat(*turns: tuple[str, str], system: str | None = None) -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    for user, assistant in turns:
        messages += [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return messages


def fill(form: str, side: Side) -> str:
    topic = side.topic
    return form.format(
        q=side.question, t=topic, T=topic[0].upper() + topic[1:], s=side.short, w=side.why, n=side.next,
        tn=josa(topic, "은/는"), tr=josa(topic, "을/를"),
    )


class Corpus:
    """Makes documents one after another; the same seed makes the same ones."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.facts = load_facts()
        talk = [tuple(fields(line)) for line in content_lines(TEXT / "talk.txt")]
        self.talk = {"ko": [t for t in talk if t[0][0] >= "가"], "en": [t for t in talk if t[0][0] < "가"]}
        self.reference = python_reference()

    def system(self, language: str) -> str | None:
        return self.rng.choice(SYSTEM[language]) if self.rng.random() < 0.25 else None

    def fact_turn(self, fact: Fact, language: str) -> tuple[str, str]:
        side = fact.side(language)
        return fill(self.rng.choice(ASK[language]), side), fill(self.rng.choice(ANSWER[language]), side)

    def follow_up(self, fact: Fact, language: str) -> tuple[str, str]:
        side = fact.side(language)
        forms, answer = self.rng.choice([(WHY, side.why), (NEXT, side.next), (REPEAT, side.short)])
        return self.rng.choice(forms[language]), answer

    def fact_chat(self, language: str) -> Document:
        turns = []
        for fact in self.rng.sample(self.facts, self.rng.choice([1, 1, 2, 3])):
            turns.append(self.fact_turn(fact, language))
            if self.rng.random() < 0.4:
                turns.append(self.follow_up(fact, language))
        return chat(*turns, system=self.system(language))

    def fact_prose(self, language: str) -> Document:
        return "\n".join(fill(self.rng.choice(PROSE[language]), f.side(language)) for f in self.rng.sample(self.facts, 2))

    def translation(self, language: str) -> Document:
        turns = []
        for fact in self.rng.sample(self.facts, 2):
            name = self.rng.choice(["topic", "short", "why", "next", "question"])
            pair = {side: getattr(fact.side(side), name) for side in LANGUAGES}
            target = "ko" if language == "en" else "en"
            turns.append((self.rng.choice(TRANSLATE[language]).format(x=pair[language]), pair[target]))
        return chat(*turns, system=self.system(language))

    def small_talk(self, language: str) -> Document:
        turns = self.rng.sample(self.talk[language], self.rng.choice([1, 2, 3]))
        if self.rng.random() < 0.3:
            turns.append(self.fact_turn(self.rng.choice(self.facts), language))
        return chat(*turns, system=self.system(language))

    def sums(self, language: str) -> Document:
        turns = []
        for _ in range(self.rng.choice([1, 2, 3])):
            a, b = self.rng.randint(1, 12), self.rng.randint(1, 12)
            if language == "en":
                turns.append((f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}."))
            else:
                turns.append((f"{a} 더하기 {josa(str(b), '은/는')} 얼마인가요?", f"{a} 더하기 {josa(str(b), '은/는')} {a + b}입니다."))
        return chat(*turns)

    def story_text(self, language: str) -> str:
        name, place, sky, time, thing, friend, end = map(self.rng.choice, (NAMES, PLACES, SKIES, TIMES, THINGS, FRIENDS, ENDS))
        if language == "en":
            lines = [
                f"On a {sky[0]} {time[0]} {name[0]} went to {place[0]}.", f"{name[0]} was looking for {thing[0]}.",
                f"At {place[0]} {name[0]} met {friend[0]}.", end[0],
            ]
        else:
            lines = [
                f"{sky[1]} {time[1]}에 {josa(name[1], '은/는')} {place[1]}에 갔습니다.", f"{josa(name[1], '은/는')} {josa(thing[1], '을/를')} 찾고 있었습니다.",
                f"{place[1]}에서 {josa(name[1], '은/는')} {josa(friend[1], '을/를')} 만났습니다.", end[1],
            ]
        return " ".join(lines)

    def story(self, language: str) -> Document:
        text = self.story_text(language)
        return text if self.rng.random() < 0.5 else chat((self.rng.choice(STORY_ASK[language]), text), system=self.system(language))

    def reference_text(self, language: str) -> Document:
        return self.rng.choice(self.reference)

    def documents(self, count: int) -> list[Document]:
        kinds: list[tuple[Callable[[str], Document], int]] = [
            (self.fact_chat, 50), (self.fact_prose, 14), (self.translation, 14), (self.small_talk, 8), (self.story, 5), (self.sums, 3),
            (self.reference_text, 6),
        ]
        makers, weights = zip(*kinds, strict=True)
        return [self.rng.choices(makers, weights)[0](self.rng.choice(LANGUAGES)) for _ in range(count)]


def python_reference() -> list[str]:
    """Paragraphs of English prose from Python's own language reference."""
    from pydoc_data.topics import topics

    paragraphs = [" ".join(p.split()) for text in topics.values() for p in text.split("\n\n")]
    return sorted({p for p in paragraphs if 120 <= len(p) <= 500 and p[0].isupper() and p.endswith(".") and "|" not in p})
