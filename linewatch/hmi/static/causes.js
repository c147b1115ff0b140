// Why strip was not inspected, in words.
import { t } from "/static/texts.js";

const CAUSES = {
  lost: t("lines lost by the camera"), overrun: t("the line was faster than the engines"), truncated: t("incomplete picture"),
  wrong_size: t("picture of a wrong size"), colour: t("colour picture"), depth: t("picture of a wrong depth"),
  frozen: t("frozen picture"), black: t("no light"), corrupt: t("damaged picture"), engine: t("an engine failed"),
  overload: t("overload"), turned: t("the strip reversed"), no_strip: t("no strip in view"), narrow: t("strip partly out of view"),
  dark: t("zones too dark"), bright: t("zones blown out"), blurred: t("out of focus"), dirty: t("dirty lens"),
  calibration: t("no valid calibration"), restart: t("the service restarted"), camera: t("camera lost"),
  silent: t("a camera's service was silent"), untold: t("no decision was told"),
};

/** The words for a cause; its code where a newer service has one that this page does not know. */
export const causeWords = (code) => CAUSES[code] ?? code ?? t("unknown");

/** How strip was inspected, in words. */
export const qualityWords = (quality) => ({ degraded: t("degraded"), missed: t("not inspected"), inspected: t("inspected") })[quality] ?? quality;
