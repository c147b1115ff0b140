// The queue of labels: one key each; the next defects and their pictures are fetched while a person looks at this one.
import { ask } from "/static/ask.js";
import { className, labelWords } from "/static/coil_words.js";
import { scores } from "/static/defect_parts.js";
import { DefectView, preload } from "/static/defect_view.js";
import { toast } from "/static/dialog.js";
import { byId, element, say } from "/static/dom.js";
import { LabelButtons, isForOthers, label, takeBack } from "/static/labelling.js";
import { number, percent, t } from "/static/texts.js";

/** A day's work, and what is fetched ahead. */
const GOAL = 100, AHEAD = 6;
const work = byId("work");
if (work) start();

function start() {
  const form = byId("filter"), view = new DefectView({ tall: innerWidth < 700 ? 300 : 520 });
  byId("view").append(view.node);
  let queue = [], now = null, asking = null, asked = 0, dry = false, today = 0, begun = null, done = 0;
  const out = new Set(), given = [];
  const mayLabel = work.dataset.mayLabel === "yes";
  const buttons = mayLabel ? new LabelButtons({ classes: document.documentElement.dataset.classes.split(" ").filter(Boolean), say: speak, undo }) : null;
  if (buttons) byId("label").append(buttons.node);

  const query = new URLSearchParams(location.search);
  for (const field of form.elements) field.value = query.get(field.name) ?? "";

  /** Keep the queue filled; the answers of a filter that was changed meanwhile are dropped. */
  function fill() {
    if (asking || dry || queue.length >= AHEAD) return asking;
    const mine = asked, without = [...out, ...queue.map((one) => one.defect.number), ...(now ? [now.defect.number] : [])].slice(-500);
    asking = ask("/labels/queue", { ...Object.fromEntries(new FormData(form)), without: without.join(",") })
      .then((found) => {
        if (mine !== asked) return;
        dry = !found.next.length;
        queue.push(...found.next);
        for (const one of found.next) if (one.picture) preload(one.defect.number);
        if (!begun) today = found.today;
        const waits = found.waiting >= found.counted_to ? t("more than {count} wait", { count: number(found.counted_to) }) : t("{count} wait", { count: number(found.waiting) });
        say(byId("waiting"), waits);
        progress();
      })
      .catch((error) => { if (mine === asked) { dry = true; toast(error.message, "bad"); } })
      .finally(() => { asking = null; if (mine === asked && !now) next(); else if (mine !== asked) fill(); });
    return asking;
  }

  function next() {
    now = queue.shift() ?? null;
    fill();
    work.hidden = !now;
    byId("empty").hidden = Boolean(now) || !dry;
    if (now) show(now);
  }

  function show(found) {
    const { defect } = found;
    byId("title").replaceChildren(className(defect.class, defect.tentative), ` · ${t("probability {share}", { share: percent(defect.probability, 0) })} · `, element("a", { href: `/coils/${defect.passage}` }, defect.coil));
    byId("open").href = `/defects/${defect.number}`;
    view.show(found);
    buttons?.show(defect);
    byId("scores").replaceChildren(scores(defect));
  }

  function progress() {
    const all = today + done;
    say(byId("done"), number(all));
    say(byId("of"), t("of {goal} labelled today", { goal: GOAL }));
    byId("bar").value = Math.min(GOAL, all);
    const minutes = begun ? (Date.now() - begun) / 60_000 : 0;
    say(byId("pace"), done >= 3 && minutes > 0 ? t("{pace} a minute", { pace: number(done / minutes, 0) }) : "");
  }

  /** The next defect is shown at once; the label is on its way meanwhile, and comes back to the person if it fails. */
  function speak(verdict, rightClass) {
    if (!now) return;
    const one = now, entry = { one, label: { verdict, right_class: rightClass }, sent: null };
    begun ??= Date.now();
    out.add(one.defect.number);
    given.unshift(entry);
    done += 1;
    entry.sent = label(one.defect.number, verdict, rightClass).catch((error) => {
      given.splice(given.indexOf(entry), 1);
      out.delete(one.defect.number);
      queue.unshift(one);
      done -= 1;
      toast(error.message, "bad");
      told();
    });
    told();
    next();
  }

  function told() {
    progress();
    byId("last").replaceChildren(...given.slice(0, 12).map(({ one, label: said }) => element("li", {}, className(one.defect.class), " → ", element("b", {}, labelWords(said)))));
  }

  async function undo() {
    const entry = given.shift();
    if (!entry) { toast(t("There is nothing to take back.")); return; }
    told();
    try {
      await entry.sent;
      await takeBack(entry.one.defect.number);
      done -= 1;
      out.delete(entry.one.defect.number);
      if (now) queue.unshift(now);
      now = entry.one;
      work.hidden = false;
      byId("empty").hidden = true;
      show(now);
    } catch (error) {
      given.unshift(entry);
      toast(error.message, "bad");
    }
    told();
  }

  function skip() {
    if (!now) return;
    out.add(now.defect.number);
    next();
  }

  function begin() {
    const given_ = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
    const words_ = new URLSearchParams(given_).toString();
    history.replaceState(null, "", words_ ? `/labels?${words_}` : "/labels");
    asked += 1;
    queue = [];
    now = null;
    dry = false;
    fill();
  }

  form.addEventListener("change", begin);
  form.addEventListener("submit", (event) => event.preventDefault());
  addEventListener("keydown", (event) => {
    if (isForOthers(event)) return;
    if (event.key.toLowerCase() === "s") { skip(); event.preventDefault(); } else if (view.key(event.key) || buttons?.key(event.key)) event.preventDefault();
  });
  progress();
  begin();
}
