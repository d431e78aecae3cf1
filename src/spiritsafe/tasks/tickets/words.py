"""What customers write: the matter itself by intent, and everything that stands around it.

{braces} are filled from SLOTS. Words of one intent stand in the asides of others on purpose: no keyword
tells an intent.
"""
# ruff: noqa: E501 (a wording stays on one line, so that it can be read and searched)

from __future__ import annotations

ASKS: dict[str, tuple[str, ...]] = {
    "login": (
        "I can't get into my account since {day}, it keeps saying the password is wrong.",
        "The reset link you sent to my mail on {day} does not open, so I am locked out.",
        "After the update on my {device} the app asks for a code that never arrives.",
        "My account has been blocked after {n} attempts and I need to get back in.",
        "Signing in on my {device} just shows a blank page since {day}.",
        "How do I get back in when the phone with the codes, a {device}, is gone?",
        "It says no user with that mail exists, but I ordered a {product} with it in {month}.",
    ),
    "late_delivery": (
        "The {product} was promised for {day} and it is still not here.",
        "Where is order {order}? The tracking has not moved for {n} days.",
        "It has been {n} weeks since I bought the {product} and nothing has come.",
        "Order {order} should have reached {city} on {day}, can you tell me what is going on?",
        "The courier says they never got parcel {order} from you.",
        "My neighbour ordered the same {product} later than me and has it already, I am still waiting.",
        "The status of {order} is on its way since {month}, when will it come?",
    ),
    "damaged_item": (
        "The {product} came with a big crack, I need another one.",
        "One of the {n} parts of the {product} is broken and another is missing.",
        "When I opened parcel {order} the {product} was in pieces.",
        "The {product} stopped working after {n} days, it does not even switch on.",
        "The {product} I got is dented and smells burnt.",
        "What arrived on {day} in box {order} is not whole: the {product} has no lid.",
        "The screen of the {product} flickers since I unpacked it on {day}.",
    ),
    "wrong_charge": (
        "You took {amount} from my card twice on {day}.",
        "My bill for {month} says {amount} but we had agreed on less.",
        "There is an amount of {amount} on my statement that I never agreed to.",
        "Why did the {product} cost me {amount} when the page said something else?",
        "I was billed {amount} for a plan that I do not have.",
        "The voucher was not taken off order {order}, I paid the full {amount}.",
        "The invoice of {day} counts {n} pieces of the {product}, I only bought one.",
    ),
    "refund_status": (
        "I sent the {product} back on {day} and have not seen my money.",
        "You confirmed the return of {order} in {month}, when do I get the {amount}?",
        "It is {n} weeks since you said that the {amount} would be on my card again.",
        "Your colleague promised {amount} back for the {product}, nothing has come so far.",
        "Has the money for the returned {product} been sent yet?",
        "The shop took back my {product} on {day} but my bank knows of nothing.",
        "How long until the {amount} for order {order} shows up on my account?",
    ),
    "cancel_plan": (
        "Please stop my {plan} plan at the end of {month}.",
        "I do not want to go on with the {plan} subscription.",
        "End my {plan} membership, I have not used it for {n} months.",
        "Where is the button to get out of the {plan} plan? I can't find it on my {device}.",
        "We are moving to {city} and will not need the {plan} plan any more.",
        "Don't renew the {plan} contract in {month}.",
        "I only wanted to try {plan} for {n} days, please close it before it goes on.",
    ),
    "change_address": (
        "I have moved, from now on send everything to {street} in {city}.",
        "Can order {order} go to {street} instead of my old place?",
        "The street on my account is wrong, it must be {street}.",
        "From {month} on I live in {city}, how do I tell you the new place?",
        "Please bring the {product} to my office, {street}, and not to my home.",
        "I typed the wrong house number for {order}, it is {street}.",
        "My parcels still go to {city}, I left there in {month}.",
    ),
    "product_question": (
        "Does the {product} work with a {device}?",
        "Is the {product} also to be had for {amount} or less in another size?",
        "How many hours does the {product} last before it has to be charged?",
        "Before I buy the {product}: can {n} people use it at once?",
        "Will the {product} be on sale again in {month}?",
        "What is the difference between the {product} and the {other}?",
        "Can I wash the {product}, or the {other}, at {n}0 degrees?",
    ),
}

SLOTS: dict[str, tuple[str, ...]] = {
    "product": (
        "kettle", "desk lamp", "headphones", "rain jacket", "coffee grinder", "backpack", "tent", "radio",
        "blender", "office chair", "bike pump", "keyboard", "monitor", "toaster", "sleeping bag", "vase",
        "camera bag", "speaker", "wall clock", "frying pan", "heater", "fan", "tablet cover", "board game",
    ),
    "day": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "the 3rd", "the 14th", "the 21st", "the 28th"),
    "month": ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    "device": ("phone", "tablet", "laptop", "old computer", "smart watch", "TV", "work phone"),
    "plan": ("Basic", "Plus", "Family", "Student", "Premium", "Team"),
    "city": ("Leeds", "Bristol", "Cardiff", "York", "Dublin", "Exeter", "Derby", "Perth", "Oxford", "Hull"),
    "street": ("Mill Lane 4", "12 Station Road", "7 Park Street", "Church Hill 31", "58 High Street", "3 Canal Walk", "Elm Close 9"),
}  # fmt: skip

OPENINGS = (
    "", "", "", "Hi,", "Hello,", "Good morning,", "Dear team,", "Hello again,", "Hey,", "To whom it may concern,",
)  # fmt: skip
CLOSINGS = (
    "", "", "", "Thanks.", "Thank you!", "Please help.", "Best wishes", "I look forward to your answer.",
    "Can somebody look into this?", "Kind regards", "Please reply soon.", "Thanks in advance",
)  # fmt: skip
SETTLED = (
    "The refund for the {other} came in {month}, thank you for that.",
    "Delivery of the {other} was quick last time.",
    "My password works again, by the way.",
    "This is not about the {amount} from {month}, that was cleared up.",
    "I had thought of cancelling the {plan} plan, but I will keep it.",
    "I have asked about the {other} before and got a good answer.",
    "The new address in {city} is already on my account.",
    "The broken {other} has been replaced, that was fine.",
    "No, I do not want my money back.",
    "Last time the parcel to {city} was late, this time it came in a day.",
    "My card was charged correctly for the {other}.",
    "I can log in without any trouble.",
)
"""Asides about other matters that need no answer."""
QUOTED = (
    'In {month} I wrote: "{quoted}" That is settled.',
    'My last message was "{quoted}", and you solved it at once.',
    'This is another matter than "{quoted}", which my wife wrote.',
    'Forget about "{quoted}", I found out myself.',
    '"{quoted}" was what I wanted to ask on {day}, but not any more.',
)
"""Whole matters of other intents, taken back."""
CHATTER = (
    "I have been a customer for {n} years.",
    "My sister told me about your shop.",
    "I tried to call but nobody picked up.",
    "I am writing from my {device}.",
    "It rains all day here in {city}.",
    "I already wrote on {day}.",
    "I use it every day for work.",
    "Sorry for the long message.",
    "The chat robot could not help me.",
    "It was meant as a present for my father.",
    "I like the {other} very much.",
    "I hope that this is the right place to ask.",
)
"""Sentences that say nothing about the matter."""
