"""From a request to records: plan, trials in processes of their own, what they leave behind."""
