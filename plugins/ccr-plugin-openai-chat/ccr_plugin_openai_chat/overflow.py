"""A conversation that is too long, told in the words that the client recognises."""

from __future__ import annotations

import re

_OVERFLOW = re.compile(
    r"(?i)context_length_exceeded|exceed_context_size|maximum context length|prompt (?:is )?too long|input is too long"
    r"|max(?:imum)? context (?:size|window|length)|too many (?:input )?tokens|range of input length"
    r"|exceeds? the (?:\w+ )?(?:context|maximum number of (?:input )?tokens)"
    r"|context (?:window|length|size) (?:is )?exceed|exceeds? (?:the )?(?:model'?s )?(?:maximum )?context"
    r"|input length and .?max_tokens.? exceed|larger than the (?:maximum )?context|reduce the length of the messages"
)
_NUMBER = r"(\d[\d,_]*\d|\d)"
_MOST = re.compile(
    r"(?i)(?:context (?:length|window|size)(?: limit)?(?: \w+)? (?:is|of|to|=)?"
    r"|maximum(?: (?:context|number)[\w ]*?)?(?: is| of| allowed)?"
    rf"|limit(?: is| of)?|at most|no more than|available context size|> )[\s:(]*{_NUMBER}(?: tokens)?"
)
_SPLIT = re.compile(
    rf"(?i){_NUMBER}(?: tokens)? (?:in|from) the (?:messages|prompt|input)"
    rf"[^.]*?{_NUMBER}(?: tokens)? (?:in|for) the"
)
_SPLIT_TEXT = re.compile(rf"(?i){_NUMBER} of text input[^.]*?{_NUMBER} in the output")
_ADDED = re.compile(rf"(?i){_NUMBER} \+ {_NUMBER} > {_NUMBER}")


def too_long(text: str) -> str | None:
    """The words for a conversation that is too long, if ``text`` says that; with the numbers where it has them.

    Claude Code knows two wordings: ``prompt is too long: N tokens > M maximum`` makes it compact, and ``input length
    and `max_tokens` exceed context limit: A + B > C`` makes it ask again at once for a shorter answer.
    """
    if not _OVERFLOW.search(text):
        return None
    added = _ADDED.search(text)
    split = _SPLIT.search(text) or _SPLIT_TEXT.search(text)
    found = _MOST.search(text)
    most = _number(found.group(1)) if found else None
    if added:
        prompt, answer, most = map(_number, added.groups())
    elif split:
        prompt, answer = map(_number, split.groups())
    else:
        prompt = answer = 0
    if most and answer and 0 < prompt < most:
        return f"input length and `max_tokens` exceed context limit: {prompt} + {answer} > {most}"
    numbers = [_number(number) for number in re.findall(_NUMBER, text)]
    if not most:
        # The limit is the smaller of the two large numbers, the prompt the larger.
        large = sorted({number for number in numbers if number >= 512})
        most = large[-2] if len(large) >= 2 else None
    if not most:
        return "prompt is too long"
    larger = prompt if prompt > most else min((number for number in numbers if number > most), default=None)
    return f"prompt is too long: {larger} tokens > {most} maximum" if larger else "prompt is too long"


def _number(text: str) -> int:
    return int(re.sub(r"[,_]", "", text))
