// What Gradio's components leave out: pasting images anywhere, and a status that is shown and read
// aloud.

const upload = () => document.querySelector("#images input[type=file]");

document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  const input = upload();
  if (!files.length || !input) return;
  event.preventDefault();
  const transfer = new DataTransfer();
  files.forEach((file) => transfer.items.add(file));
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});

document.addEventListener("click", (event) => {
  const status = document.querySelector("#status");
  if (!status || !event.target.closest("#start")) return;
  const { top, bottom } = status.getBoundingClientRect();
  if (top < 0 || bottom > 0.8 * innerHeight) status.scrollIntoView();
});

const complete = () => {
  document.querySelector("#status:not([role])")?.setAttribute("role", "status");
  // A button around the button that adds files: reached once, and with a name.
  const outer = document.querySelector("#images button[aria-label='common.upload']");
  if (outer) {
    outer.setAttribute("role", "group");
    outer.setAttribute("aria-label", "Add files");
    outer.title = "Add files";
    outer.tabIndex = -1;
  }
  for (const button of document.querySelectorAll("#examples button[aria-label^='Thumbnail']")) {
    button.setAttribute("aria-label", button.querySelector("img").alt);
  }
};
new MutationObserver(complete).observe(document, { childList: true, subtree: true });
