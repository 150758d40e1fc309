/* A button that copies what is to be typed. */
for (const block of document.querySelectorAll(".highlight-sh, .highlight-python, .highlight-r, .highlight-bash")) {
  const button = document.createElement("button");
  button.textContent = "copy";
  button.onclick = async () => {
    await navigator.clipboard.writeText(block.querySelector("pre").textContent);
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 1500);
  };
  block.classList.add("typed");
  block.append(button);
}
