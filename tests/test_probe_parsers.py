# ruff: noqa: RUF001 -- models write these signs
"""What the parsers read from the answers that chat models really give.

The oracle is a person who read each of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rys.probes.parsers import (
    parse_choice,
    parse_number,
    parse_ratings,
    parse_word,
    parse_yes_no,
    remove_thinking,
)
from rys.probes.parsers.text import parse_symbols, parse_words

LETTERS = "ABCDEFG"
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
EMOTIONS = ["Relieved", "Angry", "Sad", "Hopeful"]


THINKING = {
    "none": ("The answer is 5.", "The answer is 5.", False),
    "closed": ("<think>\n7 + 5 is 12.\n</think>\n\n12", "12", False),
    "closed, empty": ("<think>\n\n</think>\n\nYes.", "Yes.", False),
    "unclosed": ("<think>Okay, so the user asks for 7 + 5. That is 12, but wait", "", True),
    "unclosed after text": ("Let me see.\n<think>Hmm, 7", "Let me see.", True),
    "opened by the template": (
        "So 7 + 5 = 12.\n</think>\n\nThe answer is 12.",
        "The answer is 12.",
        False,
    ),
    "opened by the template, nothing after": ("So 7 + 5 = 12.\n</think>", "", False),
    "long tag": ("<thinking>It says D.</thinking>(B)", "(B)", False),
    "capitals": ("<THINK>hm</THINK>ok", "ok", False),
    "two blocks": ("<think>a</think>One <think>b</think>two", "One two", False),
    "second block open": ("<think>a</think>12<think>wait", "12", True),
    "nested": ("<think>a <think> b</think>12", "12", False),
    "stray second end": ("<think>a</think>The answer is 12.</think>", "The answer is 12.", False),
    "square brackets": ("[THINK]7 and 5[/THINK]12", "12", False),
    "seed": ("<seed:think>7 and 5</seed:think>12", "12", False),
    "any prefix": ("<mm:think>7 and 5</mm:think>12", "12", False),
    "thought": ("<|begin_of_thought|>7<|end_of_thought|>12", "12", False),
    "capitals between bars": ("<|START_THINKING|>7<|END_THINKING|>12", "12", False),
    "triangles": ("\u25c1think\u25b77 and 5\u25c1/think\u25b712", "12", False),
    "channel of Gemma": ("<|channel>thought\n7 and 5<channel|>12", "12", False),
    "channel of Gemma, open": ("<|channel>thought\n7 and 5", "", True),
    "channels": (
        "<|channel|>analysis<|message|>7+5<|end|><|start|>assistant<|channel|>final<|message|>12",
        "12",
        False,
    ),
    "channel still analysing": ("<|channel|>analysis<|message|>We need 7+5", "", True),
    "empty": ("", "", False),
    "a word in prose": ("I think it is 12.", "I think it is 12.", False),
}


@pytest.mark.parametrize(("text", "visible", "is_open"), THINKING.values(), ids=THINKING)
def test_thinking_is_removed(text: str, visible: str, is_open: bool) -> None:
    assert remove_thinking(text) == (visible, is_open)


NUMBERS = {
    # alone
    "digits": ("4302459", "4302459"),
    "full stop": ("12.", "12"),
    "bold": ("**12**", "12"),
    "italic": ("*12*", "12"),
    "code": ("`12`", "12"),
    "zero": ("0", "0"),
    "decimal": ("3.75", "3.75"),
    "no leading zero": (".75", "0.75"),
    "negative": ("-17", "-17"),
    "unicode minus": ("−17.5", "-17.5"),
    "negative in parentheses": ("The answer is (-12).", "-12"),
    "minus set apart": ("3 - 8 = - 5", "-5"),
    "difference is not negative": ("10-4", "4"),
    "leading spaces": ("\n\n   42\n", "42"),
    "windows lines": ("12\r\n\r\nBecause 7 + 5 is 12, and 3 are left over.\r\n", "12"),
    # separators
    "commas": ("1,234,567", "1234567"),
    "commas in prose": ("The product is 48,263,104.", "48263104"),
    "spaces": ("1 234 567", "1234567"),
    "narrow spaces": ("1\u202f234\u202f567", "1234567"),
    "apostrophes": ("1'234'567", "1234567"),
    "typographic apostrophe": ("Das Ergebnis ist 1’234.", "1234"),
    "underscores": ("1_000_000", "1000000"),
    "several dots": ("1.234.567", "1234567"),
    "dots and comma": ("1.234,56", "1234.56"),
    "commas and point": ("1,234.56", "1234.56"),
    "indian": ("12,34,567", "1234567"),
    "decimal comma": ("Das ergibt 3,5 Liter.", "3.5"),
    "zero before comma": ("0,333", "0.333"),
    "one dot is decimal": ("1.234", "1.234"),
    "list is not one number": ("The digits are 7, 2, 0, 5", "5"),
    "list without spaces": ("7,2,0,5", "5"),
    "spaced list": ("2 3 5 7 11", "11"),
    "latex comma": ("$1{,}234{,}567$", "1234567"),
    "latex thin space": (r"\(1\,234\,567\)", "1234567"),
    # units
    "unit": ("12 apples", "12"),
    "unit glued": ("75km", "75"),
    "compound unit": ("The answer is 60 km/h.", "60"),
    "power in unit": ("The answer is 12 m^2.", "12"),
    "dollar": ("She makes $18 every day.", "18"),
    "dollar, escaped": (r"The total is \$1,080.", "1080"),
    "negative dollar": ("-$5.50", "-5.5"),
    "dollar, negative": ("$-5.50", "-5.5"),
    "us dollar": ("US$12", "12"),
    "euro after": ("12,50 €", "12.5"),
    "per cent": ("The answer is 15%.", "15"),
    "degrees": ("It was -4 °C.", "-4"),
    "million": ("about 1.5 million people", "1500000"),
    "thousands as k": ("The answer is 12k.", "12000"),
    "exponent": ("3.2e5", "320000"),
    "times ten to": ("3.2 × 10^5", "320000"),
    "latex times ten to": (r"$3.2 \times 10^{-2}$", "0.032"),
    "slash": ("2/3", str(Decimal(2) / 3)),
    "half": ("The answer is 1/2.", "0.5"),
    "mixed": ("It takes 2 1/2 hours.", "2.5"),
    "date is no fraction": ("12/14/1937", "1937"),
    "frac": (r"\boxed{\frac{3}{4}}", "0.75"),
    "negative frac": (r"$-\dfrac{1}{2}$", "-0.5"),
    # powers, of units and of numbers
    "square metres": ("12 m^2", "12"),
    "square metres in a sentence": ("So the total area is 12 m^2.", "12"),
    "square metres, summed up": ("12 m^2 + 3 m^2 = 15 m^2", "15"),
    "square metres in a box": (r"\boxed{12 \text{ m}^2}", "12"),
    "square metres in a box, braces": (r"$\boxed{12\,\mathrm{~m}^{2}}$", "12"),
    "square metres in HTML": ("It is 12 m<sup>2</sup>.", "12"),
    "per second": ("The rate is 12 s^{-1}", "12"),
    "joules": ("It is 12 kg*m^2/s^2", "12"),
    "inches with a full stop": ("It is 12 in.^2", "12"),
    "square of a letter": (r"\boxed{12x^2}", "12"),
    "letter to a power": ("x^2", None),
    "power of ten": ("10^6", "1000000"),
    "power of two": ("There are 2^{10} of them.", "1024"),
    "power of two, stars": ("2**10", "1024"),
    "negative power": ("10^{-2}", "0.01"),
    "power of a fraction": ("1.5^2", "2.25"),
    "minus before a power": ("-2^2", "-4"),
    "large power is exact": ("9^99", str(9**99)),
    "zero to a negative power": ("0^-1", None),
    # tags and dollars
    "answer tag": ("First 3. <answer>12</answer> Checked 2 times.", "12"),
    "answer tag, unit": ("<answer>12 m^2</answer>", "12"),
    "answer tag, open": ("7 + 5\n<answer>\n12", "12"),
    "answer tag, square": ("[ANSWER]12[/ANSWER]", "12"),
    "box of GLM": ("<|begin_of_box|>12<|end_of_box|>", "12"),
    "dollars of LaTeX": ("ANSWER: $12$", "12"),
    "prices": ("It costs $5 and then $6", "6"),
    # LaTeX boxes
    "box": (r"Thus the sum is $\boxed{1,234}$.", "1234"),
    "box with unit": (r"\[ \boxed{18 \text{ dollars}} \]", "18"),
    "box with text": (r"\boxed{\text{42}}", "42"),
    "box with equation": (r"\boxed{x = -5}", "-5"),
    "last box": (r"First \boxed{3}, and finally \boxed{8}. That took 2 steps.", "8"),
    "box before later numbers": (r"\boxed{12}" + "\n\nCheck: 12 - 5 = 7", "12"),
    "box unclosed": (r"So we have \boxed{12", "12"),
    "box with latex comma": (r"\boxed{1{,}234}", "1234"),
    # statements
    "answer is": ("First 3 apples, then 9 more. The answer is 12.", "12"),
    "answer is, then a reason": ("The answer is 12, because 15 - 3 = 12 and 3 were eaten.", "12"),
    "answer is, reason with another number": ("The answer is 12, where x = 3.", "12"),
    "final answer, bold": ("**Final Answer:** 12\n\n(Note: 3 were eaten.)", "12"),
    "final answer on next line": ("### Final Answer\n\n**18**\n\nI used 2 steps.", "18"),
    "answer colon": ("3 * 6 = 18\nAnswer: 18", "18"),
    "answer equals": ("answer = 18", "18"),
    "answer with equation": ("The answer is 7 + 5 = 12.", "12"),
    "answer with units in equation": ("The answer is 7 apples + 5 apples = 12 apples.", "12"),
    "answer to a question with numbers": ("The answer to 7 + 5 is 12.", "12"),
    "answer as a sentence": ("The answer is that Bob has 12 apples. He began with 7.", "12"),
    "answer about": ("The answer is approximately 2.236.", "2.236"),
    "answer math": (r"The final answer is: \(12\)", "12"),
    "how to find the answer": ("To find the answer: multiply 3 by 4 to get 12.", "12"),
    "last statement": ("At first the answer is 10. Wait, I forgot one. The answer is 11.", "11"),
    "chatter after": ("The answer is 12. I hope this answer helps! Ask me 3 more.", "12"),
    "not this but that": ("The answer is not 12 but 13.", "13"),
    "gsm8k mark": ("48 / 2 = 24\n48 + 24 = 72\n#### 72", "72"),
    "gsm8k mark, dollars": ("She makes 9 * 2 = 18\n#### $18", "18"),
    "sentence after colon": ("Answer: Janet sells 9 eggs. She makes $18 every day.", "18"),
    "German": ("Die Antwort ist 1.234,5 Meter.", "1234.5"),
    "Spanish": ("La respuesta es 42.", "42"),
    "Chinese": ("答案是12。", "12"),
    "Chinese prose": ("小明一共有12个苹果。", "12"),
    # the last one
    "equation": ("7 + 5 = 12", "12"),
    "repeats the question": ("What is 57 times 3? 57 × 3 = 171", "171"),
    "repeats the question in words": ("The square root of 144 is 12.", "12"),
    "latex root": (r"$\sqrt{144} = 12$", "12"),
    "cube root, rounded": ("The cube root of 74088 is exactly 42.", "42"),
    "power": ("2**3 = 8", "8"),
    "steps": (
        "1. He buys 3 boxes of 4: 3 × 4 = 12\n2. He eats 2: 12 - 2 = 10\n3. That is what is left.",
        "10",
    ),
    "named steps": ("Step 1: 3 × 4 = 12\nStep 2: done", "12"),
    "reason in parentheses": ("The total is 12 (7 from Ann and 5 from Bob).", "12"),
    "reason": ("She has 12 left because she gave away 5 of 17.", "12"),
    "leading number, then reason": ("12 (because 7+5)", "12"),
    "leading number, then because": ("12, because 7 + 5", "12"),
    "leading number, then a sentence": ("42. This is because we add 40 and 2.", "42"),
    "first line alone": ("12\n\nExplanation: he had 7 and was given 5 of 6.", "12"),
    "first and last line alone": ("12\n+5\n---\n17", "17"),
    "subscript": ("x_1 is the root, and it is 7, like x2", "7"),
    "chemistry": ("18 grams of H2O", "18"),
    "ordinal": ("He has 12 apples on the 2nd day.", "12"),
    "words of prose": ("5 apples and 3 pears make 8.", "8"),
    "digits in full width": ("12", "12"),
    "very long": ("1" * 200, "1" * 200),
    "refusal overcome": ("I cannot know the exact value, but it is approximately 12.", "12"),
    # nothing
    "empty": ("", None),
    "spaces only": (" \n ", None),
    "no number": ("I would rather not say.", None),
    "number word": ("The answer is twelve.", None),
    "refusal": ("I'm sorry, but I can't help with that.", None),
    "refusal with numbers": (
        "It is not possible to determine how many of the 5 apples are left.",
        None,
    ),
    "refusal, typographic": ("I can’t determine that from the 3 facts given.", None),
    "division by zero": ("1/0", None),
    "loops": ("1" * 5000, None),
    "exponent that no float holds": ("1e99999999999", "1"),
    "ordinal only": ("the 5th", None),
}


@pytest.mark.parametrize(("text", "number"), NUMBERS.values(), ids=NUMBERS)
def test_number_is_read(text: str, number: str | None) -> None:
    assert parse_number(text) == (None if number is None else Decimal(number))


CHOICES = {
    "letter": ("D", "D"),
    "small letter": ("d", "D"),
    "full stop": ("D.", "D"),
    "parentheses": ("(D)", "D"),
    "small in parentheses": ("(d)", "D"),
    "bold": ("**C**", "C"),
    "italic": ("*C*", "C"),
    "quoted": ('"C"', "C"),
    "with text": ("(D) 12/14/1937", "D"),
    "with text, no parentheses": ("D 12/14/1937", "D"),
    "bold with text": ("**(D) 12/14/1937**", "D"),
    "half parenthesis": ("D) because the day before is in July", "D"),
    "colon": ("B: the second one", "B"),
    "dash": ("B - the second one", "B"),
    "comma because": ("A, because it is the first.", "A"),
    "answer colon": ("Answer: D", "D"),
    "answer colon small": ("answer: d", "D"),
    "answer without colon": ("Answer D", "D"),
    "bold answer": ("**Answer:** (D) 12/14/1937", "D"),
    "bold answer and letter": ("**Final Answer: B**", "B"),
    "answer on next line": ("### Answer\n\nC", "C"),
    "answer is": ("The answer is (B).", "B"),
    "answer is, trailing space": ("So the answer is (B). ", "B"),
    "answer is bare": ("The answer is B", "B"),
    "answer is with text": ("The answer is C Tuesday", "C"),
    "answer is A": ("The answer is A.", "A"),
    "answer is option": ("The correct answer is option (E) 05/06/2021.", "E"),
    "answer is most likely": ("The answer is most likely B.", "B"),
    "answer to the question": ("The answer to the question of the 12th of July is (F).", "F"),
    "correct option": ("The correct option is C.", "C"),
    "is correct": ("Option C is correct.", "C"),
    "is correct, with text": ("(D) 12/14/1937 is the correct answer.", "D"),
    "option": ("Option C", "C"),
    "option with text": ("Option C: Tuesday", "C"),
    "box": (r"Therefore \boxed{B}.", "B"),
    "box with text": (r"\[\boxed{\text{(B) Tuesday}}\]", "B"),
    "box after reasoning": (r"The answer is A? No, A is too early. \boxed{C}", "C"),
    "I think": ("I think it's B, not A", "B"),
    "I choose": ("I choose C.", "C"),
    "I would go with": ("I'd go with (C), though (B) comes close.", "C"),
    "so": ("Two days later is the 14th, so B.", "B"),
    "which is": ("The 14th comes next, which is (D).", "D"),
    "reasoning before": ("(A) is a week too early. (B) is the day after. The answer is (C).", "C"),
    "reasoning after": ("The answer is (C). (A) is too early and (B) is too late.", "C"),
    "explanation after": ("B\n\nExplanation: Option A would be correct if it were July.", "B"),
    "explanation of all": ("B) Tuesday.\n\nA) is wrong.\nC) is wrong.", "B"),
    "last statement": ("The answer is A. Wait, that is a leap year. The answer is B.", "B"),
    "eliminated after": ("It must be D. So A is ruled out.", "D"),
    "only one in parentheses": (
        "Counting the days leads us to the second one (B) in the list",
        "B",
    ),
    "last line only": ("(A) and (B) are early.\n(C) fits the calendar.", "C"),
    "last line alone": ("A is early. B is late.\n\nC", "C"),
    "thinking aloud, then letter": ("Let's see. Today is the 12th.\n\n(E)", "E"),
    # LaTeX, tags and brackets
    "dollars": ("ANSWER: $A$", "A"),
    "one dollar": ("Answer: $A", "A"),
    "dollars, escaped": (r"answer: \$A\$", "A"),
    "dollars alone": ("$A$", "A"),
    "two dollars": ("$$B$$", "B"),
    "dollars, text": (r"ANSWER: $\text{A}$", "A"),
    "dollars, style within style": (r"\boxed{\text{\textbf{C}}}", "C"),
    "dollars, several": ("ANSWER: $A$ and $B$", None),
    "instruction repeated": ("Use the format ANSWER: $LETTER.", None),
    "answer tag": ("I think A fits. <answer>C</answer>", "C"),
    "answer tag, lines": ("<answer>\n(C) Tuesday\n</answer>", "C"),
    "answer tag, open": ("<answer>C", "C"),
    "answer tag, final": ("<final_answer>C</final_answer>", "C"),
    "answer tag, square": ("[ANSWER]C[/ANSWER]", "C"),
    "answer tag, empty": ("<answer></answer>", None),
    "answer tag, several": ("<answer>A or B</answer>", None),
    "answer tag, prose": ("<answer>A man walks</answer>", None),
    "answer tag, option tag": ("<answer><option>C</option></answer>", "C"),
    "box of GLM": ("<|begin_of_box|>C<|end_of_box|>", "C"),
    "HTML": ("The answer: <b>C</b>", "C"),
    "label that looks like HTML": ("Answer: <B>", "B"),
    "angle brackets": ("<C>", "C"),
    "guillemets": ("Answer: «C»", "C"),
    "brackets of Chinese": ("答案：【C】", "C"),
    "JSON": ('{"answer": "C"}', "C"),
    "German": ("Die Antwort ist B.", "B"),
    "French": ("La réponse est (C).", "C"),
    "Chinese": ("答案是B。", "B"),
    "Chinese colon": ("答案：D", "D"),
    # none
    "article": ("A man walks into a room.", None),
    "article after colon": ("Answer: A man walks into a room.", None),
    "article in a statement": ("The answer is a matter of taste.", None),
    "answer word": ("Answer", None),
    "I": ("I think that cannot be known.", None),
    "several stated": ("The answer is A or B.", None),
    "several stated with and": ("The answer is (A) and (C).", None),
    "options repeated": ("(A) Monday\n(B) Tuesday\n(C) Friday", None),
    "only denied": ("Option A is wrong.", None),
    "ambiguous": ("It could be (A), it could be (B).", None),
    "letter not offered": ("The answer is Z.", None),
    "refusal": ("I'm sorry, I can't help with that.", None),
    "refusal in another language": ("Das kann ich leider nicht sagen.", None),
    "empty": ("", None),
    "names and vitamins": ("Take vitamin C and a B-complex.", None),
    "none of the above": ("None of the above.", None),
}


@pytest.mark.parametrize(("text", "label"), CHOICES.values(), ids=CHOICES)
def test_choice_is_read(text: str, label: str | None) -> None:
    assert parse_choice(text, LETTERS) == label


def test_choice_is_spelled_as_the_label_given() -> None:
    assert parse_choice("The answer is B.", ["(A)", "(B)"]) == "(B)"
    assert parse_choice("The answer is (10).", ["1", "10"]) == "10"
    assert parse_choice("B", []) is None
    assert parse_choice("B", ["", "()"]) is None


YES_NO = {
    "yes": ("Yes", "Yes"),
    "yes.": ("yes.", "Yes"),
    "no": ("No", "No"),
    "NO!": ("NO!", "No"),
    "bold no": ("**No**", "No"),
    "bold no, reason": ("**No**, they do not return.", "No"),
    "quoted": ('"No."', "No"),
    "yes because": ("Yes, because the turns cancel out.", "Yes"),
    "yes now": ("Yes, now they return.", "Yes"),
    "yes it is": ("Yes it is", "Yes"),
    "no that": ("No, that is not possible", "No"),
    "no it": ("No it does not.", "No"),
    "no dash": ("No — the last step leads away.", "No"),
    "no because": ("No because they end 3 steps away.", "No"),
    "no, next line": ("No\n\nYou end up three steps away.", "No"),
    "answer is": ("The answer is **no**.", "No"),
    "answer is, bold all": ("**The answer is No.**", "No"),
    "answer colon": ("Answer: Yes", "Yes"),
    "answer on next line": ("## Answer\nNo", "No"),
    "final answer": ("They walk 3 steps and back.\n\n**Final answer:** Yes", "Yes"),
    "so the answer": ("At first yes seems right. We end at (2, 0). So the answer is no.", "No"),
    "changed mind": ("Yes, they return. Wait, one step is missing. So the answer is no.", "No"),
    "actually": ("No. Hmm, let me recount. Actually, yes.", "Yes"),
    "so": ("The total is zero, so yes.", "Yes"),
    "therefore": ("2 is not 0. Therefore, no.", "No"),
    "box": (r"Hence \boxed{\text{No}}.", "No"),
    "I'd say": ("I'd say yes.", "Yes"),
    "question repeated": ("Do they return to the start? No, they do not.", "No"),
    "instruction repeated": ("Yes or no? No.", "No"),
    "last line": ("Let's count the steps: 3 + 2 - 5 = 0.\n\nYes.", "Yes"),
    "well": ("Well, no.", "No"),
    "would answer": ('A typical person would answer "No".', "No"),
    "Spanish no": ("No, no es posible.", "No"),
    "dollars": ("ANSWER: $Yes$", "Yes"),
    "dollars, text": (r"ANSWER: $\text{No}$", "No"),
    "answer tag": ("Yes. <answer>No</answer>", "No"),
    "answer tag, prose": ("<answer>No one</answer>", None),
    "HTML": ("<b>No</b>", "No"),
    "angle brackets": ("Answer: <Yes>", "Yes"),
    # none
    "do not know": ("I do not know", None),
    "don't know yes or no": ("I don't know, yes or no?", None),
    "not plausible": ("It is not plausible", None),
    "not necessarily": ("Not necessarily", None),
    "no one": ("No one can say that.", None),
    "no idea": ("No idea.", None),
    "answer no longer": ("The answer is no longer clear.", None),
    "no way to know": ("There is no way to know.", None),
    "both": ("Yes and no.", None),
    "German no": ("Nein.", None),
    "German yes": ("Ja, das stimmt.", None),
    "French yes": ("Oui", None),
    "word within": ("Yesterday we noted nothing.", None),
    "maybe": ("Maybe.", None),
    "refusal": ("I'm sorry, but I cannot answer that.", None),
    "empty": ("", None),
}


@pytest.mark.parametrize(("text", "answer"), YES_NO.values(), ids=YES_NO)
def test_yes_or_no_is_read(text: str, answer: str | None) -> None:
    assert parse_yes_no(text) == answer


WORDS = {
    "alone": ("Tuesday", "Tuesday"),
    "small letters": ("tuesday.", "Tuesday"),
    "bold": ("**Tuesday**", "Tuesday"),
    "sentence": ("That day falls on a Tuesday.", "Tuesday"),
    "stated": ("It was not Monday. The answer is Tuesday, since Monday was a holiday.", "Tuesday"),
    "stated colon": ("Monday + 8 days.\nAnswer: **Tuesday**", "Tuesday"),
    "stated, then others": ("The answer is Tuesday. Monday would be 7 days, Friday 11.", "Tuesday"),
    "stated in a sentence": ("The answer is that it falls on a Tuesday.", "Tuesday"),
    "stated twice": ("The answer is Monday. No: the answer is Sunday.", "Sunday"),
    "box": (r"Monday plus one is \boxed{\text{Tuesday}}", "Tuesday"),
    "line alone": ("Monday is 7 days later, so go one further.\n\nTuesday", "Tuesday"),
    "first line alone": ("Tuesday\n\nMonday plus 8 days is one more than a week.", "Tuesday"),
    "first sentence": ("Tuesday. Monday plus 8 days is one more than a week.", "Tuesday"),
    "not this but that": ("It's not Monday but Tuesday.", "Tuesday"),
    "question repeated": (
        "What comes after Monday and before Wednesday? It is a Tuesday",
        "Tuesday",
    ),
    "last line": ("Today is Monday and 7 days on is Monday.\nThe next one is Tuesday", "Tuesday"),
    "German statement": ("Die Antwort ist Friday.", "Friday"),
    "dollars": (r"ANSWER: $\text{Tuesday}$", "Tuesday"),
    "answer tag": ("Monday? <answer>Tuesday</answer> not Wednesday", "Tuesday"),
    "two stated": ("The answer is Monday or Tuesday.", None),
    "contradictory lines": ("Monday\n\nTuesday", None),
    "contradictory": ("It may be Monday, it may be Tuesday.", None),
    "only denied": ("It is not Monday.", None),
    "list": ("Monday, Tuesday and Friday", None),
    "part of a word": ("Mondays, Fridayish", None),
    "other language": ("Dienstag", None),
    "refusal": ("I cannot answer that.", None),
    "empty": ("", None),
}


@pytest.mark.parametrize(("text", "word"), WORDS.values(), ids=WORDS)
def test_word_is_read(text: str, word: str | None) -> None:
    assert parse_word(text, DAYS) == word


@pytest.mark.parametrize(
    ("text", "words", "word"),
    [
        ("The argument is invalid.", ["valid", "invalid"], "invalid"),
        ("It is not  plausible.", ["plausible", "not plausible"], "not plausible"),
        ("False", ["True", "False"], "False"),
        ("not ( True ) and True is False, so the answer is False", ["True", "False"], "False"),
        ("It's not true.", ["True", "False"], None),
        ("The book belongs to Anna-Lena.", ["Lena", "Anna-Lena"], "Anna-Lena"),
        ("Anna's.", ["Anna", "Bob"], "Anna"),
        ("anything", [], None),
        ("anything", ["", " "], None),
        ("C++ it is", ["C++", "Java"], "C++"),
    ],
)
def test_word_is_whole_and_longest(text: str, words: list[str], word: str | None) -> None:
    assert parse_word(text, words) == word


RATINGS: dict[str, tuple[str, list[float] | None]] = {
    "lines": ("Relieved: 7\nAngry: 2\nSad: 0\nHopeful: 5", [7, 2, 0, 5]),
    "other order": ("Sad: 0\nHopeful: 5\nRelieved: 7\nAngry: 2", [7, 2, 0, 5]),
    "numbered, bold, of ten": (
        "1. **Relieved**: 7/10\n2. **Angry**: 2/10\n3. **Sad**: 0/10\n4. **Hopeful**: 5/10",
        [7, 2, 0, 5],
    ),
    "bold with colon": ("**Relieved:** 7\n**Angry:** 2\n**Sad:** 0\n**Hopeful:** 5", [7, 2, 0, 5]),
    "bullets, dashes, decimals": (
        "- relieved – 4.5\n- angry – 2\n- sad – 0\n- hopeful – 10",
        [4.5, 2, 0, 10],
    ),
    "one line": ("Relieved: 7, Angry: 2, Sad: 0, Hopeful: 5", [7, 2, 0, 5]),
    "table": ("| Relieved | 7 |\n| Angry | 2 |\n| Sad | 0 |\n| Hopeful | 5 |", [7, 2, 0, 5]),
    "json": ('{"Relieved": 7, "Angry": 2, "Sad": 0, "Hopeful": 5}', [7, 2, 0, 5]),
    "reasons": (
        "Relieved: 7 - it is over\nAngry: 2 (a bit)\nSad: 0\nHopeful: 5, as ever",
        [7, 2, 0, 5],
    ),
    "score of": (
        "Relieved (after the call): 7\nAngry score: 2\nSad = 0\nHopeful is at 5",
        [7, 2, 0, 5],
    ),
    "out of": ("Relieved: 7 out of 10\nAngry: 2 out of 10\nSad: 0\nHopeful: 5", [7, 2, 0, 5]),
    "decimal comma": ("Relieved: 7,5\nAngry: 2\nSad: 0\nHopeful: 5", [7.5, 2, 0, 5]),
    "revised": (
        (
            "First pass:\nRelieved: 7\nAngry: 2\nSad: 0\nHopeful: 5\n\n"
            "Revised:\nRelieved: 5\nAngry: 4\nSad: 1\nHopeful: 5"
        ),
        [5, 4, 1, 5],
    ),
    "bare list": ("7, 2, 0, 5", [7, 2, 0, 5]),
    "bare list in brackets": ("[7, 2.5, 0, 5]", [7, 2.5, 0, 5]),
    "bare lines": ("7\n2\n0\n5", [7, 2, 0, 5]),
    "bare numbered lines": ("1. 7\n2. 2\n3. 0\n4. 5", [7, 2, 0, 5]),
    "bare list after words": ("Here are my ratings:\n7, 2, 0, 5", [7, 2, 0, 5]),
    "bare list of ten": ("7/10, 2/10, 0/10, 5/10", [7, 2, 0, 5]),
    "dollars": ("Relieved: $7$\nAngry: $2$\nSad: $0$\nHopeful: $5$", [7, 2, 0, 5]),
    "boxes": (
        r"Relieved: \boxed{7}, Angry: \boxed{2}, Sad: \boxed{0}, Hopeful: \boxed{5}",
        [7, 2, 0, 5],
    ),
    "bare list in a box": (r"\boxed{7, 2, 0, 5}", [7, 2, 0, 5]),
    "bare list in a tag": ("<answer>7, 2, 0, 5</answer>", [7, 2, 0, 5]),
    "missing": ("Relieved: 7\nAngry: 2\nSad: 0", None),
    "too few bare": ("7, 2, 0", None),
    "too many bare": ("7, 2, 0, 5, 1", None),
    "too large": ("Relieved: 11\nAngry: 2\nSad: 0\nHopeful: 5", None),
    "too large bare": ("7, 2, 0, 50", None),
    "negative": ("Relieved: -3\nAngry: 2\nSad: 0\nHopeful: 5", None),
    "another scale": ("Relieved: 4/5\nAngry: 2/5\nSad: 0/5\nHopeful: 5/5", None),
    "range": ("Relieved: 6-7\nAngry: 2\nSad: 0\nHopeful: 5", None),
    "not available": ("Relieved: N/A\nAngry: 2\nSad: 0\nHopeful: 5", None),
    "other names": ("Happy: 7\nMad: 2\nBlue: 0\nUpbeat: 5", None),
    "refusal": ("I can't rate the feelings of other people.", None),
    "German": ("Erleichtert: 7\nWütend: 2\nTraurig: 0\nHoffnungsvoll: 5", None),
    "empty": ("", None),
}


@pytest.mark.parametrize(("text", "ratings"), RATINGS.values(), ids=RATINGS)
def test_ratings_are_read(text: str, ratings: list[float] | None) -> None:
    assert parse_ratings(text, EMOTIONS) == ratings


def test_ratings_of_names_within_names_are_told_apart() -> None:
    assert parse_ratings("Sadness: 3\nSad: 4\nNot sad: 5", ["Sad", "Not sad", "Sadness"]) == [
        4,
        5,
        3,
    ]
    assert parse_ratings("7", []) is None


@pytest.mark.parametrize(
    "text",
    [
        "<answer>Red, blue</answer>",
        "Let me see.\n<answer>\nred blue\n</answer>",
        "Answer: $red blue$",
        r"It is \boxed{\text{red blue}}.",
        "The answer is: <b>red blue</b>.",
    ],
)
def test_words_are_read_without_what_stands_around_them(text: str) -> None:
    assert parse_words(text) == "red blue"


def test_signs_are_read_without_what_stands_around_them() -> None:
    for text in ("<answer>] )</answer>", "The answer is: $] )$", r"\boxed{] )}"):
        assert parse_symbols(text) == "])"


PARSERS: dict[str, Callable[[str], Any]] = {
    "thinking": remove_thinking,
    "number": parse_number,
    "choice": lambda text: parse_choice(text, LETTERS),
    "yes or no": parse_yes_no,
    "word": lambda text: parse_word(text, DAYS),
    "ratings": lambda text: parse_ratings(text, EMOTIONS),
}
PIECES = [
    *"0123456789.,'_ -+=*/()[]{}$%^:?!\n#\\ABIabi−",
    *(
        "<think>",
        "</think>",
        "answer is ",
        "Answer: ",
        "\\boxed{",
        "\\frac{1}{2}",
        "yes",
        "no",
        " or ",
        " and ",
        "not ",
    ),
    *(
        "Monday",
        "Relieved: ",
        "because ",
        "it's ",
        "Option ",
        "cannot ",
        "answer",
        "e5",
        " × 10^",
        "million",
        "٣",
        "²",
    ),
]


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@settings(deadline=None, max_examples=150)
@given(
    text=st.one_of(
        st.text(st.characters(), max_size=60),
        st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    )
)
def test_no_text_raises(parse: Callable[[str], Any], text: str) -> None:
    parse(text)


@settings(deadline=None, max_examples=60)
@given(text=st.text(max_size=30), words=st.lists(st.text(max_size=6), max_size=5))
def test_no_words_raise(text: str, words: list[str]) -> None:
    text = f"The answer is {text}{words[0] if words else ''}: 7"
    assert parse_choice(text, words) in [None, *words]
    assert parse_word(text, words) in [None, *words]
    parse_ratings(text, words)


@given(
    number=st.integers(),
    form=st.sampled_from(
        ["{}", "{:,}", "{:_}", "The answer is {:,}.", "1 + 2 = **{}**", r"\boxed{{{}}}"]
    ),
)
def test_every_integer_is_read_back(number: int, form: str) -> None:
    assert parse_number(form.format(number)) == number


HOSTILE = [
    *PIECES,
    " ",
    "\t",
    "a",
    "1,",
    "1,234,",
    "12 ",
    "(1",
    "((",
    "A ",
    "(A) ",
    "so A ",
    "B, ",
    "Relieved ",
    "- ",
    "**",
    "__",
]
HOSTILE += [
    "\\boxed{{",
    "<think></think>",
    "\\text{",
    "answer to ",
    "answer, ",
    "Yes. ",
    "? yes",
    "no ",
    "1. x\n",
    "=",
    "Monday, ",
]
HOSTILE += [
    "the answer is that ",
    "Relieved (",
    "Relieved: 1 to ",
    "$1",
    "x_{1",
    "A is ",
    "A is correct. ",
    "1/1",
    "1 1/",
]


def seconds(parse: Callable[[str], Any], piece: str, n_character: int) -> float:
    text = (piece * n_character)[:n_character]
    start = time.process_time()
    parse(text)
    return time.process_time() - start


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize("piece", ["1", "((", "<think>", "answer to ", "\\boxed{{", " ", "(A) "])
def test_time_stays_short_on_hostile_text(parse: Callable[[str], Any], piece: str) -> None:
    assert seconds(parse, piece, 200_000) < 1


@pytest.mark.slow
@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize("piece", HOSTILE)
def test_time_stays_short_on_all_hostile_text(parse: Callable[[str], Any], piece: str) -> None:
    assert seconds(parse, piece, 200_000) < 1
