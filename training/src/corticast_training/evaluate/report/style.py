"""The page's style: readable on white and on black, on a screen and on paper."""

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f5f6f8; --line: #d9dce1; --text: #1b1f24; --soft: #5b6470;
  --one: #6b8fc9; --all: #0b57d0; --theirs: #b26a00; --control: #9aa3ae;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #111418; --raised: #1a1f25; --line: #333b45; --text: #e8ebef; --soft: #a0a9b4;
    --one: #6f8fbd; --all: #8ab8ff; --theirs: #e0a050; --control: #6b7580;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem;
  background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif;
}
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p, li { max-width: 70ch; }
.soft { color: var(--soft); }
.notes { margin: .75rem 0; padding: .6rem 1rem .6rem 2rem; background: var(--raised);
  border-left: 3px solid var(--theirs); border-radius: .25rem; }
.plots { border-top: 1px solid var(--line); }
.plot { display: grid; grid-template-columns: minmax(11rem, 17rem) 1fr 13rem; gap: 1.25rem;
  align-items: center; padding: .5rem 0; border-bottom: 1px solid var(--line); }
.plot small { color: var(--soft); }
.plot .none { grid-column: 2 / 4; }
.lane { position: relative; height: 1.25rem; border-left: 1px solid var(--line);
  border-right: 1px solid var(--line); }
.lane i { position: absolute; top: 50%; transform: translateY(-50%); }
.lane .band { height: 1rem; min-width: 2px; background: var(--control); opacity: .4; }
.lane .tick { height: 1rem; width: 0; border-left: 2px dotted var(--text); }
.lane .line { height: 3px; border-radius: 2px; background: var(--own); }
.lane .dot { width: .7rem; height: .7rem; border-radius: 50%; background: var(--own);
  transform: translate(-50%, -50%); }
.axis { display: flex; justify-content: space-between; color: var(--soft); font-size: .75rem;
  line-height: 1.1; }
.said { font-variant-numeric: tabular-nums; padding-bottom: .8rem; }
.said .single, .said .mean { height: 1.25rem; line-height: 1.25rem; color: var(--own);
  font-weight: 600; white-space: nowrap; }
.said small { font-weight: 400; }
.single { --own: var(--one); }
.mean { --own: var(--all); }
.theirs { --own: var(--theirs); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: baseline; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 14rem; }
thead th { color: var(--soft); font-weight: 600; }
tr.group th { background: var(--raised); text-align: left; }
tr.single td, tr.mean td { font-weight: 600; color: var(--own); }
td small { color: var(--soft); font-weight: 400; }
td.wrap { white-space: normal; max-width: 11rem; line-height: 1.25; }
.examples { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(27rem, 100%), 1fr)); }
.example { background: var(--raised); border: 1px solid var(--line); border-radius: .5rem;
  padding: .75rem; }
.videos { display: grid; grid-template-columns: repeat(var(--n), 1fr); gap: .5rem; }
figure { margin: 0; }
figure img { width: 100%; display: block; border-radius: .25rem; background: var(--line); }
figure .none { aspect-ratio: 1; display: grid; place-items: center; border-radius: .25rem;
  border: 1px dashed var(--line); color: var(--soft); font-size: .8rem; }
figcaption { color: var(--soft); font-size: .8rem; text-align: center; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem .75rem; margin: .6rem 0 0;
  font-size: .9rem; line-height: 1.35; }
dt { color: var(--soft); }
dd { margin: 0; }
dd small { color: var(--soft); }
.bars { display: grid; grid-template-columns: minmax(8rem, 15rem) 1fr repeat(var(--n), 3.5rem);
  gap: .2rem .5rem; align-items: center; font-size: .9rem; font-variant-numeric: tabular-nums; }
.bars > * { text-align: right; }
.bars > b { color: var(--soft); font-weight: 600; }
.bars .name { text-align: left; }
.bars small { color: var(--soft); }
.track { border-left: 1px solid var(--line); padding: 2px 0; }
.track i { display: block; height: .3rem; margin: 1px 0; border-radius: 0 .15rem .15rem 0;
  background: var(--own); }
.key { margin-right: 1.25rem; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: .9rem; height: .45rem;
  margin-right: .4rem; border-radius: .1rem; background: var(--own); }
.key.dot::before { width: .65rem; height: .65rem; border-radius: 50%; }
.key.band::before { height: .8rem; background: var(--control); opacity: .4;
  vertical-align: -.1rem; }
.key.tick::before { width: 0; height: .8rem; border-left: 2px dotted var(--text);
  background: none; vertical-align: -.1rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 48rem) {
  .plot { grid-template-columns: 1fr; gap: .4rem; }
  .plot .none { grid-column: auto; }
  .bars { grid-template-columns: minmax(6rem, 9rem) 1fr repeat(var(--n), 2.5rem);
    gap: .2rem .25rem; }
}
@media print { body { max-width: none; } .example, tr { break-inside: avoid; } }
"""
