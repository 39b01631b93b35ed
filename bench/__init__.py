"""What a decision costs: this server beside Kamailio's own modules, under the same load."""
