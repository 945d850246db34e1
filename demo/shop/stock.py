"""What the shop starts with. Plain data: whoever reads it needs no Django. Several words are one text, to be split."""

from datetime import UTC, datetime

PASSWORD = "demo"
STAFF_ID = 1

FIRST_NAMES = """
    Ada Alan Amara Barbara Carlos Chen Dana Edsger Elif Emmy Farah Grace Hana Hedy Ines Ivan Jun Karl Katherine Kofi
    Leila Lin Maria Mina Nadia Noor Olga Omar Paolo Priya Quinn Radia Ravi Rosa Sami Sofia Tariq Uma Wanda Yuki
"""
LAST_NAMES = """
    Abara Bauer Costa Demir Eriksen Fontaine Garcia Hassan Ito Jansen Khan Lindgren Moreau Novak Okafor Petrov Quispe
    Rossi Silva Tanaka Usman Vargas Weber Yilmaz Zhang
"""
PRODUCTS = {
    "books": "Atlas Cookbook Diary Novel Primer",
    "garden": "Hose Rake Shears Spade Trowel",
    "kitchen": "Grater Kettle Ladle Pan Whisk",
    "music": "Drum Flute Guitar Metronome Violin",
    "office": "Desk Folder Lamp Pen Stapler",
    "sport": "Ball Bat Net Racket Whistle",
    "toys": "Dice Kite Puzzle Robot Train",
    "travel": "Backpack Compass Map Tent Torch",
}
KINDS = "Classic Compact Deluxe Everyday Handmade"
TODAY = datetime(2025, 6, 1, tzinfo=UTC)
