// One defect: look at it, and say what it is.
import { ask } from "/static/ask.js";
import { labelWords } from "/static/coil_words.js";
import { facts, neighbours, scores } from "/static/defect_parts.js";
import { DefectView } from "/static/defect_view.js";
import { toast } from "/static/dialog.js";
import { byId, element, say } from "/static/dom.js";
import { LabelButtons, isForOthers, label, takeBack } from "/static/labelling.js";
import { dateAndTime, t } from "/static/texts.js";

const { number, mayLabel } = byId("name").dataset;
const view = new DefectView();
byId("view").append(view.node);

function said(given) {
  byId("said").replaceChildren(given ? element("span", { class: "tag", "data-kind": "good" }, `${labelWords(given)} · ${given.who}, ${dateAndTime(given.said_unix_ms)}`) : "");
}

const attempt = (work) => work().catch((error) => toast(error.message, "bad"));
const buttons = mayLabel === "yes" ? new LabelButtons({
  classes: document.documentElement.dataset.classes.split(" ").filter(Boolean),
  say: (verdict, rightClass) => attempt(async () => { said(await label(number, verdict, rightClass)); toast(t("Labelled")); }),
  undo: () => attempt(async () => { said((await takeBack(number)).label); toast(t("Taken back")); }),
}) : null;
if (buttons) byId("label").replaceChildren(buttons.node);

addEventListener("keydown", (event) => {
  if (!isForOthers(event) && (view.key(event.key) || buttons?.key(event.key))) event.preventDefault();
});

await attempt(async () => {
  const found = await ask(`/defects/${number}/about`);
  view.show(found);
  buttons?.show(found.defect);
  said(found.defect.label);
  byId("scores").replaceChildren(scores(found.defect));
  byId("facts").replaceChildren(...facts(found.defect));
  byId("near").replaceChildren(neighbours(found));
  say(byId("engines"), found.engines.length ? t("Found by {engines}", { engines: found.engines.join(", ") }) : "");
});
