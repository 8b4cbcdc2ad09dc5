# experiments: specs, presets and the tiny model; installed under $(pkgdatadir).
