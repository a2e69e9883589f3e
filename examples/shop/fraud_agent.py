"""A fraud agent looks for customers who return a lot, with the cards they pay with."""

from __future__ import annotations

import psycopg


def main() -> None:
    with psycopg.connect("", autocommit=True) as connection:
        for name, email, card, returned in connection.execute(
            "SELECT c.name, c.email, c.card, count(*) FROM customers c JOIN orders o ON o.customer_id = c.id"
            " WHERE o.state = 'returned' GROUP BY c.id ORDER BY count(*) DESC, c.id LIMIT 4"
        ):
            print(f"{name}, {email}, {card}: {returned} returned")


if __name__ == "__main__":
    main()
