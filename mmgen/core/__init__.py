"""What everything else is said in: tokens, layouts, masks, draws, errors. Imports nothing of mmgen but itself."""
