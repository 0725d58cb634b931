"""What every floor shares: artifact, errors, registry, units, atomic files. No third-party imports."""
