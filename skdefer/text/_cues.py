"""English words that deny, words that hedge, and units of measurement: facts of language."""

from __future__ import annotations

_DENYING = """
absence absent cannot denied denies deny denying except excluded excludes excluding fail failed
fails failure lack lacked lacking lacks neither never no nobody none nor not nothing nowhere unable
unaffected unchanged unlikely unrelated without
"""
_WITH_NOT = "ai are ca could did do does had has have is might must need should was were wo would"
_HEDGING = """
almost apparent apparently appear appeared appears approximately assume assumed believe believed can
conceivably could debatable doubt doubtful equivocal estimate estimated feasible generally
hypothesis hypothesise hypothesised hypothesize hypothesized implicate implicated implies imply
indicate indicated indicates indicating likely may maybe might mostly occasionally often partly
perhaps plausible plausibly possibility possible possibly potential potentially presumably presume
presumed probability probable probably propose proposed questionable rather relatively seem seemed
seemingly seems should somewhat speculate speculated suggest suggested suggesting suggestion
suggestive suggests suppose supposed suspect suspected suspicion suspicious tend tended tends
tentative typically uncertain uncertainty unclear unknown unlikely unsure usually would
"""
_MEASURING = """
% ampoules bpm capsules cc cells cm copies cycles day days dl doses fl fold g gm gms gram grams gy h
hour hours hr hrs hz iu j k kb kcal kda kg khz kj km kpa l lb lbs liter liters litre litres m mbq
mcg mci meq mg mgs mhz min mins minute minutes miu ml mm mmhg mmol mol month months mosm ms msec mu
mv mw nanograms ng nl nm nmol ounces oz pa percent pg pills pmol ppm s sec second seconds tablets
times u ug um umol unit units v vials w week weeks wk wks year years yr yrs ° µg µl µm µmol μg μl μm
μmol ‰
"""

#: Words and phrases that say that something is not so.
NEGATIONS: tuple[str, ...] = (
    *_DENYING.split(),
    *(f"{verb}n't" for verb in _WITH_NOT.split()),
    *("free of", "negative for", "rule out", "ruled out", "rules out"),
)

#: Words and phrases that say how unsure the writer is.
HEDGES: tuple[str, ...] = (
    *_HEDGING.split(),
    *("as far as", "cannot be excluded", "consistent with", "in general", "more or less"),
    *("not clear", "to our knowledge"),
)

#: Units, which count after a number.
UNITS: tuple[str, ...] = tuple(_MEASURING.split())
