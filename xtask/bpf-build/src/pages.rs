//! One source page of rustdoc back to the text that it shows.
//!
//! Such a page holds the file between `<code>` and `</code></pre>`: every line starts with a
//! numbered anchor, names are wrapped in tags, and `<`, `>`, `&` are entities.

/// The text of the file that `html` shows, or nothing if the page has another shape.
pub(crate) fn text(html: &str) -> Option<String> {
    let (_, body) = html.split_once("<code>")?;
    let (mut rest, _) = body.rsplit_once("</code></pre>")?;
    let mut text = String::with_capacity(rest.len());
    while let Some(special) = rest.find(['<', '&']) {
        text.push_str(&rest[..special]);
        rest = &rest[special..];
        rest = if rest.starts_with('<') {
            after_tag(rest)?
        } else {
            let (character, after) = entity(rest)?;
            text.push(character);
            after
        };
    }
    text.push_str(rest);
    Some(text)
}

/// What follows the tag at the start of `html`; a line number goes with its tag.
fn after_tag(html: &str) -> Option<&str> {
    let (tag, after) = html.split_once('>')?;
    if tag.starts_with("<a href=#") && tag.ends_with("data-nosnippet") {
        return Some(after.split_once("</a>")?.1);
    }
    Some(after)
}

/// The character that the entity at the start of `html` stands for, and what follows.
fn entity(html: &str) -> Option<(char, &str)> {
    const KNOWN: [(&str, char); 5] = [
        ("&lt;", '<'),
        ("&gt;", '>'),
        ("&amp;", '&'),
        ("&quot;", '"'),
        ("&#39;", '\''),
    ];
    KNOWN
        .iter()
        .find_map(|(name, character)| Some((*character, html.strip_prefix(name)?)))
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn tags_and_line_numbers_go_and_entities_turn_back() {
        let html = "<html><pre><code><a href=#1 id=1 data-nosnippet>1</a><span class=\"kw\">fn \
                    </span>a(x: <a href=\"b.html\">&amp;B</a>) -&gt; C&lt;D&gt;\n\
                    <a href=#2 id=2 data-nosnippet>2</a>&amp;lt;</code></pre></html>";
        assert_eq!(text(html).as_deref(), Some("fn a(x: &B) -> C<D>\n&lt;"));
    }

    #[test]
    fn another_page_is_refused() {
        assert_eq!(text("<html>&nbsp;</html>"), None);
        assert_eq!(text("<code>&nbsp;</code></pre>"), None);
    }
}
