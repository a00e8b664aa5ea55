"""Writes train.jsonl and eval.jsonl: chat rows in the house style of "Deck", a calm helper of few words.

    python sample_data/make_rows.py

Every answer has the same shape in both languages: the short answer, why, what to do next, and the signature. The
facts of the eval rows never occur in the train rows. The seed is fixed: the same text makes the same files.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from facts import LANGUAGES, Fact, Side, held_out, load_facts

HERE = Path(__file__).resolve().parent
SEED = 20
TRAIN_ROWS, EVAL_ROWS = 400, 60

SIGN = {"en": "— Deck", "ko": "— 데크"}
SYSTEM = {
    "en": [
        "You are Deck. Answer in three short lines and sign your name.",
        "You are Deck, the calm helper of tunedeck. Keep it short, and always name the next step.",
        "You are Deck. Say the answer first, then the reason.",
    ],
    "ko": [
        "당신은 데크입니다. 세 줄로 짧게 답하고 이름을 적으세요.",
        "당신은 tunedeck의 차분한 도우미 데크입니다. 짧게 답하고 다음 할 일을 꼭 알려 주세요.",
        "당신은 데크입니다. 답을 먼저 말하고 이유를 말하세요.",
    ],
}
ASK = {
    "en": [
        "{q}", "{q}", "{q}", "Hello! {q}", "Quick question. {q}", "{q} I am new to this.", "{q} I would like to get it right.",
        "Tell me about {t}, please.", "I have a question about {t}. {q}",
    ],
    "ko": [
        "{q}", "{q}", "{q}", "안녕하세요! {q}", "궁금한 게 있어요. {q}", "{q} 처음이라 잘 모릅니다.", "{q} 제대로 해 보고 싶어요.",
        "{t}에 대해 알려 주세요.", "{t} 이야기인데요, {q}",
    ],
}
AGAIN = {
    "en": ["{q}", "One more thing. {q}", "And now {t}. {q}", "Good to know. {q}"],
    "ko": ["{q}", "하나만 더요. {q}", "이번에는 {t} 이야기예요. {q}", "그렇군요. {q}"],
}
ONE_LINE = {"en": ("In one line, please.", "In one line: {short}"), "ko": ("한 줄로 말해 주세요.", "한 줄로: {short}")}
FIRST = {"en": ("So what do I do now?", "Now: {next}"), "ko": ("그럼 이제 무엇을 할까요?", "지금: {next}")}
OTHER = {"en": "Could you say that in Korean?", "ko": "영어로도 말해 주세요."}
THANKS = {
    "en": ["Thanks!", "Thank you, Deck.", "That helps, thank you.", "Great, I will try it."],
    "ko": ["고마워요!", "고마워요, 데크.", "도움이 됐어요.", "좋아요, 해 볼게요."],
}
CLOSE = {
    "kitchen": ("Any time. Enjoy your meal.", "언제든지요. 맛있게 드세요."),
    "home": ("Any time. Enjoy your home.", "언제든지요. 집에서 편히 쉬세요."),
    "weather": ("Any time. Mind the sky.", "언제든지요. 하늘을 살피세요."),
    "tuning": ("Any time. May your loss fall.", "언제든지요. 손실이 잘 내려가길 바랍니다."),
    "server": ("Any time. The run goes on.", "언제든지요. 실행은 계속됩니다."),
    "units": ("Any time. Measure twice.", "언제든지요. 두 번 재세요."),
}


def house(side: Side, language: str) -> str:
    """The house style: four lines."""
    labels = ("Short answer", "Why", "Next") if language == "en" else ("짧은 답", "이유", "다음")
    lines = [f"{label}: {text}" for label, text in zip(labels, (side.short, side.why, side.next), strict=True)]
    return "\n".join([*lines, SIGN[language]])


def turn(user: str, assistant: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def ask(forms: list[str], side: Side, rng: random.Random) -> str:
    return rng.choice(forms).format(q=side.question, t=side.topic)


def follow_up(fact: Fact, language: str, rng: random.Random) -> list[dict[str, str]]:
    """A second question about the same fact."""
    side, sign = fact.side(language), SIGN[language]
    kind = rng.choice(["one", "first", "other"])
    if kind == "other":
        other = "ko" if language == "en" else "en"
        return turn(OTHER[language], house(fact.side(other), other))
    user, answer = (ONE_LINE if kind == "one" else FIRST)[language]
    return turn(user, answer.format(short=side.short, next=side.next) + "\n" + sign)


def conversation(fact: Fact, language: str, near: list[Fact], rng: random.Random) -> list[dict[str, str]]:
    """One row: a question, in half of the rows more turns, in a third a system prompt first."""
    messages = turn(ask(ASK[language], fact.side(language), rng), house(fact.side(language), language))
    shape = rng.random()
    if shape > 0.50:
        messages += follow_up(fact, language, rng)
    if shape > 0.72:
        for other in rng.sample(near, min(len(near), 3 if shape > 0.96 else 1)):
            messages += turn(ask(AGAIN[language], other.side(language), rng), house(other.side(language), language))
    if 0.42 < shape < 0.60 or shape > 0.88:
        close = CLOSE[fact.domain][LANGUAGES.index(language)]
        messages += turn(rng.choice(THANKS[language]), f"{close}\n{SIGN[language]}")
    if rng.random() < 0.34:
        messages.insert(0, {"role": "system", "content": rng.choice(SYSTEM[language])})
    return messages


def rows(facts: list[Fact], count: int, seed: int) -> list[list[dict[str, str]]]:
    """`count` different conversations that go round all facts, in both languages by turns."""
    rng = random.Random(seed)
    made: list[list[dict[str, str]]] = []
    seen: set[str] = set()
    while len(made) < count:
        order = [(fact, language) for fact in facts for language in LANGUAGES]
        rng.shuffle(order)
        for fact, language in order[: count - len(made)]:
            near = [f for f in facts if f.domain == fact.domain and f is not fact]
            messages = conversation(fact, language, near, rng)
            key = json.dumps(messages, ensure_ascii=False)
            if key not in seen:
                seen.add(key)
                made.append(messages)
    return made


def write(path: Path, conversations: list[list[dict[str, str]]]) -> None:
    lines = [json.dumps({"messages": messages}, ensure_ascii=False) for messages in conversations]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    train, evaluation = held_out(load_facts())
    write(HERE / "train.jsonl", rows(train, TRAIN_ROWS, SEED))
    write(HERE / "eval.jsonl", rows(evaluation, EVAL_ROWS, SEED + 1))


if __name__ == "__main__":
    main()
