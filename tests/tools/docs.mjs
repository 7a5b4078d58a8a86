// Opens the description of the API in a browser, gives it a key, makes one call, and says what came of it.
//
// node docs.mjs MODULES URL KEY SCREENSHOT
import { createRequire } from "node:module";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [modules, url, key, screenshot] = process.argv.slice(2);
const { chromium } = createRequire(join(modules, "/"))("playwright-core");

const profile = mkdtempSync(join(tmpdir(), "wcdn-browser-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
  viewport: { width: 1280, height: 1400 },
});
const told = { errors: [], requests: [] };
try {
  const page = await browser.newPage();
  page.on("console", (message) => message.type() === "error" && told.errors.push(message.text()));
  page.on("pageerror", (error) => told.errors.push(String(error)));
  page.on("request", (request) => told.requests.push(request.url()));
  await page.goto(url, { waitUntil: "networkidle" });
  told.title = await page.locator(".info .title").first().innerText();
  told.operations = await page.locator(".opblock").count();
  await page.locator("button.authorize").first().click();
  await page.locator(".auth-container input").first().fill(key);
  await page.locator(".auth-btn-wrapper button.authorize").first().click();
  await page.locator(".auth-btn-wrapper button.btn-done").first().click();
  const call = page.locator("#operations-system-listNodes");
  await call.locator(".opblock-summary-control").click();
  await call.locator("button.execute").click();
  const answer = call.locator(".live-responses-table .response").first();
  await answer.waitFor();
  told.status = (await answer.locator(".response-col_status").innerText()).trim();
  told.body = await answer.locator("pre").first().innerText();
  await call.scrollIntoViewIfNeeded();
  await page.screenshot({ path: screenshot });
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
console.log(JSON.stringify(told));
