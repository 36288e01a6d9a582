"""What the pages share: cached reads of core, figures and thumbnail rows."""
