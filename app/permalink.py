"""What a page says of a permalink whose values do not exist (any more); the widgets themselves drop them."""

from collections.abc import Sequence

import streamlit as st


def note_unknown(**options: Sequence[str]) -> None:
    """Name the values of the address that no widget offers; call it before the widgets are made.

    Args:
        options: Key of the widget to the values as the address spells them.
    """
    unknown = [
        value
        for key, known in options.items()
        for value in st.query_params.get_all(key)
        if value and value not in known
    ]
    if unknown:
        st.warning("The link names what is not here (any more) and was left out: " + ", ".join(unknown) + ".")
