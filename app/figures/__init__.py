"""Data to Plotly figures; nothing here imports streamlit."""
